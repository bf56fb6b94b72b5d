import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ExitReason, SerialSinks } from '../machine/types.ts'
import { supervise } from './supervise.ts'

let stdout = ''
let stderr = ''

beforeEach(() => {
  stdout = stderr = ''
  const text = (bytes: unknown) => Buffer.from(bytes as Uint8Array).toString()
  vi.spyOn(process.stdout, 'write').mockImplementation((bytes) => (stdout += text(bytes)) !== '')
  vi.spyOn(process.stderr, 'write').mockImplementation((bytes) => (stderr += text(bytes)) !== '')
})
afterEach(() => vi.restoreAllMocks())

const bytes = (text: string) => new TextEncoder().encode(text)

/** A machine whose guest does what `behave` says, and ends with its result, or when it is aborted. */
function machine(behave: (serial: SerialSinks) => ExitReason | undefined) {
  return async (serial: SerialSinks) => ({
    serial: [{ send: () => {} }],
    pause: async () => {},
    resume: () => {},
    save: async function* () {
      yield bytes('a snapshot')
    },
    stats: () => ({ instructions: 2_000_000, virtualNanoseconds: 5e8, translation: undefined }),
    run: (signal: AbortSignal) =>
      new Promise<ExitReason>((resolve) => {
        signal.addEventListener('abort', () => resolve({ kind: 'aborted' }))
        const reason = behave(serial)
        if (reason) resolve(reason)
      }),
  })
}

const executing = { executing: true, timeout: undefined, stats: false }
const onSignals = () => (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const).map((name) => process.listenerCount(name))

describe('--snapshot-when', () => {
  test('saves when the console shows the text, in whatever pieces, and ends', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
    const file = join(folder, 'box.snap')
    const code = await supervise(
      machine((serial) => {
        serial.com1!(bytes('login: ro'))
        serial.com1!(bytes('ot\n~'))
        serial.com1!(bytes(' # '))
        return undefined
      }),
      { executing: false, timeout: undefined, stats: false, snapshot: { file, when: '~ # ', agent: true } },
    )
    expect([code, readFileSync(file, 'utf8'), readdirSync(folder)]).toEqual([0, 'a snapshot', ['box.snap']])
    rmSync(folder, { recursive: true })
  })

  test('a file that cannot be written is wrong input', async () => {
    const start = machine((serial) => {
      serial.com1!(bytes('~ # '))
      return undefined
    })
    const snapshot = { file: '/nowhere/box.snap', when: '# ', agent: true }
    await expect(supervise(start, { executing: false, timeout: undefined, stats: false, snapshot })).rejects.toThrow(
      '--snapshot /nowhere/box.snap: ENOENT',
    )
  })
})

describe('--exec', () => {
  test('passes on the command’s output only, and its exit code, in whatever pieces they come', async () => {
    const code = await supervise(
      machine((serial) => {
        serial.com1!(bytes('boot messages'))
        serial.com2!(bytes('to out'))
        serial.com3!(bytes('to err'))
        serial.com2!(bytes('\n'))
        serial.com4!(bytes('14'))
        serial.com4!(bytes('3\n'))
        return undefined
      }),
      executing,
    )
    expect({ code, stdout, stderr }).toEqual({ code: 143, stdout: 'to out\n', stderr: 'to err' })
  })

  test('a panic is reported though the console is not shown', async () => {
    const code = await supervise(
      machine((serial) => {
        serial.com1!(bytes('[    1.0] Kernel panic - not syncing: VFS: no root\r\n'))
        return { kind: 'reset' }
      }),
      executing,
    )
    expect({ code, stderr }).toEqual({
      code: 120,
      stderr: "paravirt: the guest's kernel panic - not syncing: VFS: no root\n",
    })
  })
})

describe('--exec that the guest’s init refuses', () => {
  test('ends with its reason, in one line', async () => {
    const code = await supervise(
      machine((serial) => {
        serial.com1!(bytes('paravirt: user space\r\nparavirt: this kernel has no /dev/hv'))
        serial.com1!(bytes('c3, by which\r\nreboot: Power down\r\n'))
        return { kind: 'power-off' }
      }),
      executing,
    )
    expect({ code, stderr }).toEqual({
      code: 122,
      stderr: 'paravirt: --exec: this kernel has no /dev/hvc3, by which\n',
    })
  })
})

describe('ending', () => {
  test('a timeout', async () => {
    const code = await supervise(
      machine(() => undefined),
      { ...executing, timeout: 20 },
    )
    expect({ code, stderr }).toEqual({
      code: 124,
      stderr: 'paravirt: timeout: the guest was still running after 0.02 s\n',
    })
  })

  test('a guest that resets itself begins again, if that is wanted, but not after a panic', async () => {
    const guest = (last: string) => {
      let boots = 0
      return machine((serial) => {
        boots++
        serial.com1!(bytes(boots < 3 ? `boot ${boots}\n` : last))
        return { kind: boots < 4 ? 'reset' : 'power-off' }
      })
    }
    const options = { executing: false, timeout: undefined, stats: false }
    expect(await supervise(guest('end\n'), { ...options, reboot: true })).toBe(0)
    expect(stdout).toBe('boot 1\nboot 2\nend\nend\n')
    expect(await supervise(guest('Kernel panic - not syncing: x\n'), { ...options, reboot: true })).toBe(120)
    expect(await supervise(guest(''), options)).toBe(123)
    expect(await supervise(guest(''), { ...options, executing: true, reboot: true })).toBe(123)
  })

  test('a signal, and no handler is left behind', async () => {
    const before = onSignals()
    const run = supervise(
      machine(() => undefined),
      executing,
    )
    await new Promise((done) => setImmediate(done))
    expect(onSignals()).not.toEqual(before)
    process.emit('SIGTERM')
    expect(await run).toBe(143)
    expect(onSignals()).toEqual(before)
  })

  test('a machine that fails leaves no handler behind either', async () => {
    const before = onSignals()
    await expect(supervise(() => Promise.reject(new Error('no memory')), executing)).rejects.toThrow('no memory')
    expect(onSignals()).toEqual(before)
  })

  test('--stats says how much was done', async () => {
    await supervise(
      machine(() => ({ kind: 'power-off' })),
      { ...executing, stats: true },
    )
    expect(stderr).toMatch(/paravirt: 2000000 instructions, .* MIPS; CPU .* s; guest's time 0\.50 s; peak \d+ MiB\n/)
  })
})
