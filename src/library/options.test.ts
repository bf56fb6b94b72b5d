import { describe, expect, test } from 'vitest'
import { InputError } from '../errors.ts'
import { type BootOptions, checkBoot, checkRestore } from './options.ts'

describe('options', () => {
  test('have defaults', () => {
    expect(checkBoot({})).toMatchObject({ memory: 512 << 20, cpus: 1, on: 'native', files: {}, deterministic: false })
  })

  test.each([
    ['256M', 256 << 20],
    ['1.5G', 1.5 * 2 ** 30],
    [64 << 20, 64 << 20],
  ])('memory %s', (memory, bytes) => {
    expect(checkBoot({ memory }).memory).toBe(bytes)
  })

  const refused: readonly [unknown, string][] = [
    [{ memory: '12 apples' }, 'memory: is not a whole number of MiB'],
    [{ memory: 512 }, 'memory: is not a whole number of MiB'],
    [{ memory: '8M' }, 'memory: is too small; at least 16M'],
    [{ memory: '16G' }, 'memory: is too large; at most 2816M'],
    [{ memory: true }, "memory: must be bytes or a size such as '512M'"],
    [{ cpus: 0 }, 'cpus: at least 1'],
    [{ cpus: 33 }, 'cpus: at most 32'],
    [{ cpus: 1.5 }, 'cpus: must be a whole number'],
    [{ on: 'virtualbox' }, 'on: must be one of native, kvm, vmware, hyperv'],
    [{ on: 'native', features: ['pv-eoi'] }, "features: 'pv-eoi': native has none to choose"],
    [{ kernel: 5 }, 'kernel: must be a path or bytes (Uint8Array)'],
    [{ files: { 'etc/x': '' } }, 'must be absolute'],
    [{ initrd: 'x', files: { '/etc/x': '' } }, 'files: are for the default initramfs; leave out initrd'],
    [{ kernal: 'x', signal: 5 }, "there is no option 'kernal'"],
    [{ disks: 'a.img' }, 'disks: must be a list'],
    [{ disks: [5] }, "disks.0: must be a path, bytes (Uint8Array), or { path, mode: 'readonly' or 'cow' }"],
    [{ disks: [{ path: 'a', mode: 'rw' }] }, 'disks.0: must be a path, bytes (Uint8Array), or {'],
    [{ networks: ['tap'] }, 'networks.0: must be user'],
    [{ signal: 5 }, 'signal: must be an AbortSignal'],
  ]
  test.each(refused)('%j is refused', (options, message) => {
    const refuse = () => checkBoot(options as BootOptions)
    expect(refuse).toThrow(InputError)
    expect(refuse).toThrow(message)
    expect(refuse).toThrow(/^Machine\.boot: /)
  })

  test('all mistakes are told at once', () => {
    expect(() => checkBoot({ cpus: 99, memory: '1M' })).toThrow(/memory: .*; cpus: /)
  })

  test('what a restored machine is was decided when it was saved', () => {
    expect(() => checkRestore({ memory: 5 } as object)).toThrow("Machine.restore: there is no option 'memory'")
  })
})
