/** Hypercalls, each with good and bad input and in every form, against the TLFS. */
import { describe, expect, test } from 'vitest'
import { INPUT, OS_ID, type Options, OUTPUT, setUp, words } from '../testing.ts'
import { denied } from './denied.ts'

const SPACE = 0x2
const LIST = 0x3
const SPIN = 0x8
const IPI = 0xb
const SPACE_EX = 0x13
const LIST_EX = 0x14
const IPI_EX = 0x15
const GET = 0x50
const SET = 0x51
const POST = 0x5c
const SIGNAL = 0x5d
const CAPABILITIES = 0x8001

const SUCCESS = { status: 'HV_STATUS_SUCCESS', done: 0 }
const failed = (status: string, done = 0) => ({ status: `HV_STATUS_${status}`, done })

function enabled(options: Options = {}) {
  const guest = setUp(options)
  guest.enable()
  return guest
}

describe('who may call', () => {
  test('nobody before the page is enabled', () => {
    const { fast, write } = setUp()
    expect(fast(SPIN, words(1))).toBe('#UD')
    write(0x40000000, OS_ID)
    expect(fast(SPIN, words(1))).toBe('#UD')
    write(0x40000001, 0x5001)
    expect(fast(SPIN, words(1))).toEqual(SUCCESS)
    write(0x40000000, 0)
    expect(fast(SPIN, words(1))).toBe('#UD')
  })

  test('ring 0 of protected mode, by the instruction of the page', () => {
    const { fast, vcpu } = enabled()
    vcpu(0).privilege = 3
    expect(fast(SPIN, words(1))).toBe('#UD')
    vcpu(0).privilege = 0
    vcpu(0).protectedMode = false
    expect(fast(SPIN, words(1))).toBe('#UD')
    vcpu(0).protectedMode = true
    expect(fast(SPIN, words(1), { instruction: 'vmmcall' })).toBe('#UD')
    expect(fast(SPIN, words(1))).toEqual(SUCCESS)
    const amd = enabled({ cpu: 'amd' })
    expect(amd.fast(SPIN, words(1), { instruction: 'vmmcall' })).toEqual(SUCCESS)
    expect(amd.fast(SPIN, words(1))).toBe('#UD')
  })
})

describe('the control word', () => {
  test('unknown codes', () => {
    const { fast, slow, events } = enabled()
    for (const code of [0, 1, 0x16, 0x100, 0x8000, 0x8002, 0xffff]) {
      expect(fast(code, words(0))).toEqual(failed('INVALID_HYPERCALL_CODE'))
      expect(slow(code, words(0))).toEqual(failed('INVALID_HYPERCALL_CODE'))
    }
    const last = events.at(-1)
    expect([last?.request.name, last?.args, last?.result]).toEqual([
      'unknown',
      [0xffffn],
      'HV_STATUS_INVALID_HYPERCALL_CODE',
    ])
  })

  test('each reserved bit', () => {
    const { fast } = enabled()
    for (const bit of [27, 28, 29, 30, 44, 45, 46, 47, 60, 61, 62, 63])
      expect(fast(SPIN, words(1), { extra: 1n << BigInt(bit) })).toEqual(failed('INVALID_HYPERCALL_INPUT'))
  })

  test('repetitions: none where there are none, at least one where there are, and a start before the end', () => {
    const { fast, slow } = enabled()
    const invalid = failed('INVALID_HYPERCALL_INPUT')
    expect(fast(SPIN, words(1), { count: 1 })).toEqual(invalid)
    expect(fast(SPIN, words(1), { start: 1 })).toEqual(invalid)
    expect(slow(LIST, words(0, 1, 0, 0))).toEqual(invalid)
    expect(slow(LIST, words(0, 1, 0, 0), { count: 1, start: 1 })).toEqual(invalid)
    expect(slow(LIST, words(0, 1, 0, 0), { count: 2, start: 3 })).toEqual(invalid)
    expect(slow(LIST, words(0, 1, 0, 0), { count: 1 })).toEqual({ ...SUCCESS, done: 1 })
  })

  test('a variable header only where there is one', () => {
    const { fast, slow } = enabled()
    expect(fast(IPI, words(0xfd, 1), { header: 1 })).toEqual(failed('INVALID_HYPERCALL_INPUT'))
    expect(slow(SPACE, words(0, 1, 0, 0), { header: 1 })).toEqual(failed('INVALID_HYPERCALL_INPUT'))
  })

  test('the nested bit is for nested hypervisors, of which there are none', () => {
    expect(enabled().fast(SPIN, words(1), { extra: 1n << 31n })).toEqual(SUCCESS)
  })
})

describe('where the input is', () => {
  test.each([
    ['unaligned', 0x8004n],
    ['across pages', 0x8ff0n],
    ['outside memory', 0x40000n],
    ['far outside', 0x7fff_ffff_ffff_f000n],
    ['at the end of all', 0xffff_ffff_ffff_fff8n],
  ])('%s', (_, input) => {
    expect(enabled().slow(SPACE, words(0, 1, 0), { input })).toEqual(failed('INVALID_ALIGNMENT'))
  })

  test('up to the last byte of a page, and of memory', () => {
    const { slow } = enabled()
    expect(slow(SPACE, words(0, 1, 0), { input: 0x8fe8n })).toEqual(SUCCESS)
    expect(slow(SPACE, words(0, 1, 0), { input: 0x3ffe8n })).toEqual(SUCCESS)
  })

  test('a list that does not fit into its page', () => {
    const { slow } = enabled()
    expect(slow(LIST, words(0, 1, 0), { count: 509 })).toEqual({ ...SUCCESS, done: 509 })
    expect(slow(LIST, words(0, 1, 0), { count: 510 })).toEqual(failed('INVALID_ALIGNMENT'))
  })

  test('output has the same rules', () => {
    const { slow, view } = enabled()
    for (const output of [0x9004n, 0x40000n, 0xffff_ffff_ffff_fff8n])
      expect(slow(CAPABILITIES, words(), { output })).toEqual(failed('INVALID_ALIGNMENT'))
    expect(slow(CAPABILITIES, words(), { output: 0x9ff8n })).toEqual(SUCCESS)
    view.setBigUint64(0x9000, 7n, true)
    expect(slow(CAPABILITIES, words(), { input: 1n })).toEqual(SUCCESS)
    expect(view.getBigUint64(0x9000, true)).toBe(0n)
  })

  test('no output: its pointer is not looked at', () => {
    expect(enabled().slow(SPACE, words(0, 1, 0), { output: 3n })).toEqual(SUCCESS)
  })

  test('in general registers', () => {
    const { fast, done } = enabled()
    expect(fast(IPI, words(0xfd, 0b101))).toEqual(SUCCESS)
    expect(done()).toEqual(['post 0 0xfd', 'post 2 0xfd'])
  })

  test('in XMM registers, up to 112 bytes', () => {
    const { fast, done } = enabled()
    expect(fast(SPACE, words(0, 0, 0b10))).toEqual(SUCCESS)
    expect(done()).toEqual(['flush 1 all'])
    expect(fast(LIST, words(0, 1, 0, ...Array.from({ length: 11 }, () => 0)), { count: 11 })).toEqual({
      ...SUCCESS,
      done: 11,
    })
    expect(fast(LIST, words(0, 1, 0), { count: 12 })).toEqual(failed('INVALID_HYPERCALL_INPUT'))
    expect(fast(POST, words(1, 1))).toEqual(failed('INVALID_HYPERCALL_INPUT'))
  })

  test('XMM registers without the feature, and output in them: #UD', () => {
    const { fast } = enabled({ features: ['no-xmm-input'] })
    expect(fast(SPACE, words(0, 1, 0))).toBe('#UD')
    expect(fast(IPI, words(0xfd, 1))).toEqual(SUCCESS)
    expect(enabled().fast(CAPABILITIES, words())).toBe('#UD')
  })

  test('from 32-bit code, in pairs of registers', () => {
    const { fast, slow, vcpu, done } = enabled()
    vcpu(0).wide = false
    expect(fast(IPI, words(0xfd, 0b1000))).toEqual(SUCCESS)
    expect(done()).toEqual(['post 3 0xfd'])
    expect(slow(LIST, words(0, 1, 0, 0x1000), { count: 1 })).toEqual({ ...SUCCESS, done: 1 })
    expect(fast(0x77, words(0))).toEqual(failed('ACCESS_DENIED'))
  })

  test('what the guest may rely on afterwards', () => {
    const { slow, vcpu } = enabled()
    slow(LIST, words(0, 1, 0, 0, 0, 0), { count: 3, start: 1 })
    const { registers } = vcpu(0)
    expect(registers.get('rcx')).toBe((3n << 48n) | (3n << 32n) | BigInt(LIST))
    expect([registers.get('rdx'), registers.get('r8')]).toEqual([INPUT, OUTPUT])
    expect(registers.get('rax')).toBe(3n << 32n)
  })
})

describe('flush', () => {
  const ALL = 1
  const ALL_SPACES = 2
  const NON_GLOBAL = 4

  test('a mask of vCPUs; those that do not exist are ignored', () => {
    const { slow, done } = enabled()
    expect(slow(SPACE, words(0x1000, 0, 0b1010n | (1n << 63n)))).toEqual(SUCCESS)
    expect(done()).toEqual(['flush 1 all', 'flush 3 all'])
    expect(slow(SPACE, words(0x1000, 0, 0))).toEqual(SUCCESS)
    expect(done()).toEqual([])
  })

  test('all vCPUs, whatever the mask', () => {
    const { slow, done } = enabled({ vcpus: 2 })
    slow(SPACE, words(0, ALL | ALL_SPACES | NON_GLOBAL, 0))
    expect(done()).toEqual(['flush 0 all', 'flush 1 all'])
  })

  test('reserved flags; an address space that is no CR3, unless all are meant', () => {
    const { slow } = enabled()
    expect(slow(SPACE, words(0, 8, 1))).toEqual(failed('INVALID_PARAMETER'))
    expect(slow(SPACE, words(0, 1n << 63n, 1))).toEqual(failed('INVALID_PARAMETER'))
    expect(slow(SPACE, words(1n << 39n, 0, 1))).toEqual(failed('INVALID_PARAMETER'))
    expect(slow(SPACE, words(1n << 39n, ALL_SPACES, 1))).toEqual(SUCCESS)
    expect(slow(LIST, words(0, NON_GLOBAL, 1, 0), { count: 1 })).toEqual(failed('INVALID_PARAMETER'))
  })

  test('ranges of pages, where the address space is in use; elsewhere everything', () => {
    const { slow, vcpu, done } = enabled({ vcpus: 3 })
    vcpu(0).root = 0x1003n
    vcpu(2).root = 0x1000n
    expect(slow(LIST, words(0x1000, ALL, 0, 0x7000, 0xffff_8000_0000_3002n), { count: 2 })).toEqual({
      ...SUCCESS,
      done: 2,
    })
    const pages = '0x7000 0xffff800000003000 0xffff800000004000 0xffff800000005000'
    expect(done()).toEqual([`flush 0 ${pages}`, 'flush 1 all', `flush 2 ${pages}`])
  })

  test('repetitions that are done are not done again', () => {
    const { slow, vcpu, done } = enabled()
    vcpu(0).root = 0x1000n
    slow(LIST, words(0x1000, 0, 1, 0x7000, 0x9000), { count: 2, start: 1 })
    expect(done()).toEqual(['flush 0 0x9000'])
  })

  test('very many pages: everything', () => {
    const { slow, vcpu, done } = enabled()
    vcpu(0).root = 0x1000n
    slow(LIST, words(0x1000, 0, 1, 0x7fff, 0x8000_0fff), { count: 2 })
    expect(done()).toEqual(['flush 0 all'])
  })

  test('sets of vCPUs', () => {
    const { slow, vcpu, done } = enabled({ vcpus: 70 })
    expect(slow(SPACE_EX, words(0, 0, 0, 0b11, 1n << 63n, 1n << 5n), { header: 2 })).toEqual(SUCCESS)
    expect(done()).toEqual(['flush 63 all', 'flush 69 all'])
    expect(slow(SPACE_EX, words(0, 0, 0, 0b10, 1), { header: 1 })).toEqual(SUCCESS)
    expect(done()).toEqual(['flush 64 all'])
    vcpu(64).root = 0x3000n
    expect(slow(LIST_EX, words(0x3000, 0, 0, 0b10, 1, 0x8000), { header: 1, count: 1 })).toEqual({
      ...SUCCESS,
      done: 1,
    })
    expect(done()).toEqual(['flush 64 0x8000'])
    expect(slow(SPACE_EX, words(0, 0, 1, 0))).toEqual(SUCCESS)
    expect(done()).toHaveLength(70)
    expect(slow(SPACE_EX, words(0, 0, 0, 0))).toEqual(SUCCESS)
    expect(done()).toEqual([])
  })

  test('sets that are none', () => {
    const { slow } = enabled()
    expect(slow(SPACE_EX, words(0, 0, 2, 0))).toEqual(failed('INVALID_PARAMETER'))
    expect(slow(SPACE_EX, words(0, 0, 0, 0b11, 1), { header: 1 })).toEqual(failed('INVALID_HYPERCALL_INPUT'))
    expect(slow(SPACE_EX, words(0, 0, 0, 0, 1), { header: 1 })).toEqual(failed('INVALID_HYPERCALL_INPUT'))
    expect(slow(LIST_EX, words(0, 0, 0, 0b1, 1, 2), { header: 2, count: 1 })).toEqual(failed('INVALID_HYPERCALL_INPUT'))
  })

  test('exist with their features', () => {
    const plain = enabled({ features: ['no-tlb-flush'] })
    for (const code of [SPACE, LIST]) expect(plain.slow(code, words(0, 1, 0))).toEqual(failed('INVALID_HYPERCALL_CODE'))
    const ex = enabled({ features: ['no-ex-masks'] })
    for (const code of [SPACE_EX, LIST_EX, IPI_EX])
      expect(ex.slow(code, words(0, 1, 0))).toEqual(failed('INVALID_HYPERCALL_CODE'))
  })
})

describe('interrupts', () => {
  test('vectors from 16 to 255, trust level 0 only', () => {
    const { fast, done } = enabled()
    for (const vector of [0, 15, 256, 0xffffffff])
      expect(fast(IPI, words(vector, 1))).toEqual(failed('INVALID_PARAMETER'))
    for (const level of [0x11n, 0x1fn, 0x20n, 0x80n])
      expect(fast(IPI, words(0xfdn | (level << 32n), 1))).toEqual(failed('INVALID_PARAMETER'))
    expect(done()).toEqual([])
    for (const vector of [16, 255]) expect(fast(IPI, words(vector, 1))).toEqual(SUCCESS)
    for (const level of [0x10n, 0x01n, 0x100n]) expect(fast(IPI, words(0xfdn | (level << 32n), 1))).toEqual(SUCCESS)
    expect(done()).toEqual(['post 0 0x10', 'post 0 0xff', 'post 0 0xfd', 'post 0 0xfd', 'post 0 0xfd'])
  })

  test('a set of vCPUs, also in registers', () => {
    const { slow, fast, done } = enabled()
    expect(slow(IPI_EX, words(0xfd, 0, 1, 0b110), { header: 1 })).toEqual(SUCCESS)
    expect(done()).toEqual(['post 1 0xfd', 'post 2 0xfd'])
    expect(fast(IPI_EX, words(0xfd, 0, 1, 0b1), { header: 1 })).toEqual(SUCCESS)
    expect(done()).toEqual(['post 0 0xfd'])
    expect(slow(IPI_EX, words(0xfd, 1, 0))).toEqual(SUCCESS)
    expect(done()).toHaveLength(4)
    expect(slow(IPI_EX, words(0xfd, 3, 0))).toEqual(failed('INVALID_PARAMETER'))
    expect(slow(IPI_EX, words(0xf, 1, 0))).toEqual(failed('INVALID_PARAMETER'))
    expect(slow(IPI_EX, words(0xfd, 0, 1, 1), { header: 2 })).toEqual(failed('INVALID_HYPERCALL_INPUT'))
  })

  test('a long wait lets the next vCPU run', () => {
    const { fast, slow, done } = enabled()
    expect(fast(SPIN, words(0xfff), { vcpu: 3 })).toEqual(SUCCESS)
    expect(slow(SPIN, words(0xfff))).toEqual(SUCCESS)
    expect(done()).toEqual(['yield 0', 'yield 1'])
  })
})

describe('messages', () => {
  test('there is no connection', () => {
    const { slow, fast } = enabled()
    expect(slow(POST, words(1, 1n | (240n << 32n)))).toEqual(failed('INVALID_CONNECTION_ID'))
    expect(slow(SIGNAL, words(0x10001))).toEqual(failed('INVALID_CONNECTION_ID'))
    expect(fast(SIGNAL, words(0x10001))).toEqual(failed('INVALID_CONNECTION_ID'))
  })

  test('type and size of a message', () => {
    const { slow } = enabled()
    for (const [type, size] of [
      [0n, 8n],
      [0x80000001n, 8n],
      [1n, 241n],
    ] as const)
      expect(slow(POST, words(1, type | (size << 32n)))).toEqual(failed('INVALID_PARAMETER'))
    expect(slow(POST, words(1, 1), { input: 0x8f08n })).toEqual(failed('INVALID_ALIGNMENT'))
  })

  test('without the privilege', () => {
    const { slow } = enabled({ features: ['no-messages', 'no-extended-hypercalls'] })
    for (const code of [POST, SIGNAL, CAPABILITIES]) expect(slow(code, words(1, 1))).toEqual(failed('ACCESS_DENIED'))
  })
})

describe('registers', () => {
  const SELF = (1n << 64n) - 1n
  const SELF_VP = 0xfffffffen
  const names = (...list: number[]) => {
    const bytes = new DataView(new ArrayBuffer(Math.ceil(list.length / 2) * 8))
    for (const [i, name] of list.entries()) bytes.setUint32(4 * i, name, true)
    return new BigUint64Array(bytes.buffer)
  }
  const VP_INDEX = 0x90003
  const OS = 0x90002
  const SINT2 = 0xa0002
  const FEATURES = 0x200

  test('read by name', () => {
    const { slow, view } = enabled()
    const input = words(SELF, 2, ...names(VP_INDEX, OS, FEATURES))
    expect(slow(GET, input, { count: 3 })).toEqual({ ...SUCCESS, done: 3 })
    const value = (i: number) => view.getBigUint64(0x9000 + 8 * i, true)
    expect([0, 1, 2, 3, 4, 5].map(value)).toEqual([2n, 0n, OS_ID, 0n, 0x00120030_00002effn, 0x000e0530_00000000n])
  })

  test('of oneself', () => {
    const { slow, view } = enabled()
    slow(GET, words(SELF, SELF_VP, ...names(VP_INDEX)), { count: 1, vcpu: 3 })
    expect(view.getBigUint64(0x9000, true)).toBe(3n)
  })

  test('up to the first that does not exist', () => {
    const { slow, view } = enabled()
    view.setBigUint64(0x9010, 5n, true)
    const input = words(SELF, 0, ...names(OS, 0x20000, OS))
    expect(slow(GET, input, { count: 3 })).toEqual(failed('INVALID_PARAMETER', 1))
    expect([view.getBigUint64(0x9000, true), view.getBigUint64(0x9010, true)]).toEqual([OS_ID, 5n])
  })

  test('from where it was left', () => {
    const { slow, view } = enabled()
    slow(GET, words(SELF, 1, ...names(OS, VP_INDEX)), { count: 2, start: 1 })
    expect([view.getBigUint64(0x9000, true), view.getBigUint64(0x9010, true)]).toEqual([0n, 1n])
  })

  test('written by name', () => {
    const { slow, read } = enabled()
    const input = words(SELF, 1, SINT2, 0, 0xf3, 0, 0xa0010, 0, 1, 0)
    expect(slow(SET, input, { count: 2 })).toEqual({ ...SUCCESS, done: 2 })
    expect([read(0x40000092, 1), read(0x40000080, 1), read(0x40000092, 0)]).toEqual([0xf3n, 1n, 0x10000n])
  })

  test('not with values that the register cannot have, not where it is read-only', () => {
    const { slow } = enabled()
    const set = (name: number, low: number, high = 0) => slow(SET, words(SELF, 1, name, 0, low, high), { count: 1 })
    expect(set(SINT2, 15)).toEqual(failed('INVALID_PARAMETER'))
    expect(set(SINT2, 0xf3, 1)).toEqual(failed('INVALID_PARAMETER'))
    expect(set(VP_INDEX, 1)).toEqual(failed('INVALID_PARAMETER'))
    expect(set(FEATURES, 1)).toEqual(failed('INVALID_PARAMETER'))
    expect(set(0x77, 1)).toEqual(failed('INVALID_PARAMETER'))
  })

  test('whose they are', () => {
    const { slow } = enabled()
    const get = (...header: (bigint | number)[]) => slow(GET, words(...header, ...names(OS)), { count: 1 })
    expect(get(1, 0)).toEqual(failed('ACCESS_DENIED'))
    expect(get(SELF, 4)).toEqual(failed('INVALID_VP_INDEX'))
    expect(get(SELF, 0x11n << 32n)).toEqual(failed('INVALID_PARAMETER'))
    expect(get(SELF, 0x100n << 32n)).toEqual(failed('INVALID_PARAMETER'))
    expect(get(SELF, 0x10n << 32n)).toEqual({ ...SUCCESS, done: 1 })
  })

  test('a register goes with its feature; the calls with theirs', () => {
    const partial = enabled({ features: ['no-synic'] })
    expect(partial.slow(GET, words(SELF, 0, ...names(SINT2)), { count: 1 })).toEqual(failed('INVALID_PARAMETER'))
    const without = enabled({ features: ['no-vp-registers'] })
    expect(without.slow(GET, words(SELF, 0, ...names(OS)), { count: 1 })).toEqual(failed('ACCESS_DENIED'))
  })
})

test("what is the parent's or the root's is denied, whatever its form", () => {
  const { slow, fast } = enabled()
  for (const { number } of denied) {
    expect(slow(number, words(0), { input: 3n })).toEqual(failed('ACCESS_DENIED'))
    expect(fast(number, words(0), { extra: 1n << 63n })).toEqual(failed('ACCESS_DENIED'))
  }
})

test('each call is noted with its arguments and its status', () => {
  const { fast, slow, events } = enabled()
  events.length = 0
  fast(IPI, words(0xfdn | (0x10n << 32n), 3), { vcpu: 1 })
  slow(POST, words(4, 1n | (300n << 32n)))
  slow(SPACE, words(0, 0, 0), { input: 4n })
  const told = events.map(({ vcpu, request, access, args, result }) => [vcpu, request.name, access, args, result])
  expect(told).toEqual([
    [1, 'HvCallSendSyntheticClusterIpi', 'call', [0xfdn, 0x10n, 3n], 'HV_STATUS_SUCCESS'],
    [0, 'HvCallPostMessage', 'call', [4n, 0n, 1n, 300n], 'HV_STATUS_INVALID_PARAMETER'],
    [0, 'HvCallFlushVirtualAddressSpace', 'call', [], 'HV_STATUS_INVALID_ALIGNMENT'],
  ])
})
