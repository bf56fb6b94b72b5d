import { describe, expect, test } from 'vitest'
import { outcome } from './outcome.ts'
import type { Ended } from './outcome.ts'

const ended = (changes: Partial<Ended>) =>
  outcome({ reason: { kind: 'aborted' }, stop: undefined, panic: undefined, executing: false, ...changes })

describe('exit codes', () => {
  test('power-off is success, without a line', () => {
    expect(ended({ reason: { kind: 'power-off' } })).toEqual({ code: 0 })
  })

  test('what the guest does of itself has its code and a line', () => {
    expect(ended({ reason: { kind: 'reset' } })).toEqual({ code: 123, line: 'the guest reset itself' })
    expect(ended({ reason: { kind: 'halted' } }).code).toBe(122)
    expect(ended({ reason: { kind: 'triple-fault', detail: '#PF at 0x1000' } })).toEqual({
      code: 121,
      line: 'triple fault: #PF at 0x1000',
    })
  })

  test('a panic counts more than the reset, halt or triple fault after it', () => {
    for (const reason of [{ kind: 'reset' }, { kind: 'halted' }, { kind: 'triple-fault', detail: '' }] as const)
      expect(ended({ reason, panic: 'Kernel panic - not syncing: VFS' })).toEqual({
        code: 120,
        line: "the guest's kernel panic - not syncing: VFS",
      })
  })

  test('--exec returns the code of its command', () => {
    expect(ended({ stop: { kind: 'executed', exitCode: 7 }, executing: true })).toEqual({ code: 7 })
  })

  test('with --exec the line says why the guest’s init cannot carry it out', () => {
    const refusal = 'this kernel has no /dev/hvc3'
    const reason = { kind: 'power-off' } as const
    expect(ended({ reason, executing: true, refusal })).toEqual({ code: 122, line: `--exec: ${refusal}` })
    expect(ended({ reason, panic: 'Kernel panic', executing: true, refusal }).code).toBe(120)
  })

  test('with --exec no end of the guest before the command is a success', () => {
    for (const reason of [{ kind: 'power-off' }, { kind: 'reset' }, { kind: 'halted' }] as const) {
      const { code, line } = ended({ reason, executing: true })
      expect(code).not.toBe(0)
      expect(line).toContain('before the command ended')
    }
  })

  test('the user ends it', () => {
    expect(ended({ stop: { kind: 'quit' } })).toEqual({ code: 0 })
    expect(ended({ stop: { kind: 'signal', signal: 'SIGTERM' } })).toEqual({ code: 143 })
    expect(ended({ stop: { kind: 'timeout', milliseconds: 1500 } })).toEqual({
      code: 124,
      line: 'timeout: the guest was still running after 1.5 s',
    })
  })
})
