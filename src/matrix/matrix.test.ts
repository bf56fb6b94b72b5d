/** Parts, their sum, and what a whole matrix means. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { ConsoleLines } from './console-lines.ts'
import { merge, readReport } from './merge.ts'
import { cellsOf, parseShard } from './plan.ts'
import { Observer } from '../paravirt/observe.ts'
import { definitions } from '../platforms/index.ts'
import { type Report, reportSchema } from './report.ts'
import { isError, RequestsLog } from './requests-log.ts'
import { cellOf, exampleReport } from './testing.ts'
import { exitCode } from './verdict.ts'

describe('exit codes for git bisect run', () => {
  const bad = cellOf('kvm', { outcome: 'hang', verdict: 'bad' })
  const entered = cellOf('native')
  const unenterable = cellOf('xen', { outcome: 'cannot-enter', verdict: 'skip' })
  const failed = cellOf('vmware', { outcome: 'host-error', verdict: 'skip' })
  test.each([
    ['all good', [entered, cellOf('kvm')], 0],
    ['one bad', [entered, bad], 1],
    ['one that cannot be entered is no fault', [entered, unenterable], 0],
    ['nothing could be entered', [unenterable], 125],
    ['paravirt failed', [entered, failed], 125],
    ['bad is bad, whatever else failed', [failed, bad], 1],
    ['a part without work', [], 0],
  ])('%s', (_, cells, code) => expect(exitCode(cells)).toBe(code))
})

describe('parts', () => {
  test.each(['0/2', '3/2', '1', 'a/b', '1/0', '1/2/3'])('%s is refused', (text) =>
    expect(() => parseShard(text)).toThrow(/write 1\/4 to 4\/4/),
  )

  test('each cell is in exactly one', () => {
    const cells = Array.from({ length: 11 }, (_, i) => i)
    const parts = [1, 2, 3].map((index) => cellsOf(cells, { index, count: 3 }))
    expect(parts.flat().sort((a, b) => a - b)).toEqual(cells)
    expect(parts.map((part) => part.length)).toEqual([4, 4, 3])
    expect(cellsOf(cells, undefined)).toEqual(cells)
  })

  const whole = exampleReport()
  const part = (index: number): Report => ({
    ...whole,
    shard: { index, count: 2 },
    cells: cellsOf(whole.cells, { index, count: 2 }),
  })

  test('their sum is the whole', () => {
    const sum = merge([part(2), part(1)])
    expect(sum).toMatchObject({ kernels: whole.kernels, platforms: whole.platforms })
    expect(sum.shard).toBeUndefined()
    expect(sum.cells.map(({ platform }) => platform).sort()).toEqual([...whole.platforms].sort())
  })

  test('what does not belong together is refused', () => {
    expect(() => merge([part(1)])).toThrow('--merge: a part is missing: that with vmlinux on kvm')
    expect(() => merge([part(1), part(2), part(1)])).toThrow('vmlinux on native is in two of the files')
    expect(() => merge([part(1), { ...part(2), kernels: ['other'] }])).toThrow('parts of different matrices')
  })

  const folder = mkdtempSync(join(tmpdir(), 'paravirt-merge-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  test('a report survives its file; other files and versions are refused', () => {
    const path = join(folder, 'report.json')
    writeFileSync(path, JSON.stringify(whole))
    expect(readReport(path)).toEqual(JSON.parse(JSON.stringify(whole)))
    writeFileSync(path, JSON.stringify({ ...whole, paravirtMatrix: 99 }))
    expect(() => readReport(path)).toThrow(/a report of version 99; this paravirt reads version 1/)
    writeFileSync(path, '[]')
    expect(() => readReport(path)).toThrow(/not a report of paravirt matrix --json/)
    expect(() => readReport(join(folder, 'none'))).toThrow(/none: no such file/)
  })
})

test('answers that are errors', () => {
  const request = { errors: { KVM_ENOSYS: 'the feature is off' } } as never
  expect(isError({ request, result: 'KVM_ENOSYS' })).toBe(true)
  expect(isError({ request, result: '#GP' })).toBe(true)
  expect(isError({ request, result: '0x1 0x2' })).toBe(false)
  expect(isError({ request, result: 5n })).toBe(false)
})

describe('a console’s lines', () => {
  const bytes = (text: string) => new TextEncoder().encode(text)

  test('come in pieces, each with its time', () => {
    let t = 0
    const told: string[] = []
    const lines = new ConsoleLines(
      () => ++t,
      ({ text }) => told.push(text),
    )
    for (const piece of ['one\r\ntw', 'o\r\r\n', 'ä'.slice(0, 1), '\nlast']) lines.see(bytes(piece))
    expect(told).toEqual(['one', 'two', 'ä'])
    expect(lines.finish()).toEqual([
      { t: 1, text: 'one' },
      { t: 2, text: 'two' },
      { t: 3, text: 'ä' },
      { t: 4, text: 'last' },
    ])
  })

  test('without end are cut in the middle', () => {
    const lines = new ConsoleLines(
      () => 0,
      () => {},
    )
    for (let i = 0; i < 20_000; i++) lines.see(bytes(`${i}\n`))
    lines.see(bytes('x'.repeat(1 << 20)))
    const kept = lines.finish().map(({ text }) => text)
    expect(kept).toHaveLength(10_001)
    expect(kept[5000]).toMatch(/^\[\d+ lines left out\]$/)
    expect(kept.at(-1)).toHaveLength(4096)
  })
})

test('requests on rings stand in a report, and a node that is not there is no error', () => {
  const observer = new Observer(() => 5)
  const log = new RequestsLog('xen-pv', observer)
  const read = definitions['xen-pv'].requests.find(({ name }) => name === 'XS_READ')!
  const write = definitions['xen-pv'].requests.find(({ name }) => name === 'XS_WRITE')!
  observer.rings.note(read, () => [0n, 'device/vbd'], 'ENOENT')
  expect(log.finish().firstError).toBeUndefined()
  observer.rings.note(write, () => [0n, 'name', 'x'], 'EACCES')
  const report = { ...exampleReport(), cells: [cellOf('xen-pv', log.finish())] }
  const [cell] = reportSchema.parse(JSON.parse(JSON.stringify(report))).cells
  expect(cell!.lastRequests.map(({ vcpu, name }) => [vcpu, name])).toEqual([
    [-1, 'XS_READ'],
    [-1, 'XS_WRITE'],
  ])
  expect(cell!.firstError?.name).toBe('XS_WRITE')
  expect(cell!.requests.every(({ kind, groups }) => kind === 'ring' && groups[0] === 'other')).toBe(true)
})
