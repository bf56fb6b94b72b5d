import { describe, expect, it } from 'vitest'
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno } from '../errno.ts'
import { mmuHypercalls } from './hypercalls.ts'
import { ACCESSED, DIRTY, PRESENT, PSE, RW, USER } from './entries.ts'
import { Type } from './frame-table.ts'
import { Mmuext } from './mmuext-op.ts'
import { audit, FIRST_OWN, IO_FRAMES, TestCalls } from './testing.ts'
import { getPageAndType } from './types.ts'

const [L4, L3, L2, L1, DATA, OTHER] = [0, 1, 2, 3, 4, 5].map((i) => FIRST_OWN + i) as number[]
const KERNEL = 1n << 52n
const entry = (frame: number, flags: number) => (BigInt(frame) << 12n) | BigInt(flags)
const at = (frame: number, slot: number, kind = 0) => entry(frame, 8 * slot + kind)

/** A vCPU that runs on one table of each level; linear address 0 is slot 0 of all. */
function host(options = {}): TestCalls {
  const t = new TestCalls(options)
  t.frames.set(L4, 0, L3, PRESENT | RW)
  t.frames.set(L3, 0, L2, PRESENT | RW)
  t.frames.set(L2, 0, L1, PRESENT | RW)
  expect(t.mmuext(Mmuext.PIN_L4_TABLE, L4)).toBe(0)
  expect(t.mmuext(Mmuext.NEW_BASEPTR, L4)).toBe(0)
  t.frames.log.length = 0
  return t
}
const holders = [{ frame: L4, typed: true }]

describe('mmu_update', () => {
  it('changes an L1 entry and answers how many are done', () => {
    const t = host()
    expect(
      t.mmuUpdate([
        [at(L1, 5), entry(DATA, PRESENT | RW)],
        [at(L1, 6), entry(DATA, PRESENT | USER)],
      ]),
    ).toEqual([0, 2])
    expect(t.frames.entry(L1, 5)).toBe(entry(DATA, PRESENT | RW | USER) | KERNEL)
    expect(t.frames.table.typeRefs[DATA]).toBe(1)
    expect(t.mmuUpdate([[at(L1, 5), 0n]])).toEqual([0, 1])
    expect(t.frames.table.typeRefs[DATA]).toBe(0)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('stops at the first that is refused', () => {
    const t = host()
    const requests = [DATA, L1, OTHER].map((frame, i): [bigint, bigint] => [at(L1, i), entry(frame, PRESENT | RW)])
    expect(t.mmuUpdate(requests)).toEqual([Errno.EBUSY, 1])
    expect([0, 1, 2].map((slot) => t.frames.entry(L1, slot) !== 0n)).toEqual([true, false, false])
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('keeps accessed and dirty with PRESERVE_AD only', () => {
    const t = host()
    t.mmuUpdate([[at(L1, 0), entry(DATA, PRESENT | RW | ACCESSED | DIRTY)]])
    t.mmuUpdate([[at(L1, 0, 2), entry(DATA, PRESENT | RW)]])
    expect(t.frames.entry(L1, 0) & 0x60n).toBe(0x60n)
    t.mmuUpdate([[at(L1, 0, 3), entry(DATA, PRESENT | RW)]])
    expect(t.frames.entry(L1, 0) & 0x60n).toBe(0n)
  })

  it('changes tables, and flushes what was known through the old ones', () => {
    const t = host({ vcpus: 2 })
    t.frames.set(OTHER, 0, DATA, PRESENT | RW)
    expect(t.mmuUpdate([[at(L2, 1), entry(OTHER, PRESENT | RW)]])).toEqual([0, 1])
    expect(t.frames.log).toEqual([])
    expect(t.frames.entry(L2, 1)).toBe(entry(OTHER, PRESENT | RW | USER))
    expect(t.mmuUpdate([[at(L2, 1), 0n]])).toEqual([0, 1])
    expect(t.frames.log).toEqual(['flush 0', 'flush 1'])
    expect(t.frames.table.typeRefs[OTHER]).toBe(0)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it.each([
    ['large pages', at(L2, 1), entry(OTHER, PRESENT | PSE), Errno.EINVAL],
    ['Xen’s slots', at(L4, 256), entry(OTHER, PRESENT), Errno.EINVAL],
    ['a table of the wrong level', at(L4, 1), entry(L2, PRESENT), Errno.EINVAL],
    ['frames of others', at(L1, 0), entry(4, PRESENT), Errno.EBUSY],
    ['what is no memory', at(L1, 0), entry(0, PRESENT), Errno.EPERM],
    ['entries in frames of others', at(4, 0), 0n, Errno.EINVAL],
    ['entries beyond memory', at(0xf0000, 0), 0n, Errno.EINVAL],
    ['entries beyond 4 GiB', at(L1, 0) | (1n << 40n), 0n, Errno.EINVAL],
    ['unknown kinds', at(L1, 0, 4), 0n, Errno.ENOSYS],
  ])('refuses %s', (_, ptr, val, answer) => {
    const t = host()
    expect(t.mmuUpdate([[ptr, val]])).toEqual([answer, 0])
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('stores into frames that are no tables, but not into descriptor tables', () => {
    const t = host()
    expect(t.mmuUpdate([[at(DATA, 3), 0x1234567890abcdefn & ~7n]])).toEqual([0, 1])
    expect(t.frames.entry(DATA, 3)).toBe(0x1234567890abcdefn & ~7n)
    t.frames.words.fill(0, DATA << 10, (DATA + 1) << 10)
    expect(getPageAndType(t.frames.table, DATA, Type.SEG_DESC)).toBe(0)
    expect(t.mmuUpdate([[at(DATA, 3), 1n]])).toEqual([Errno.EINVAL, 0])
  })

  it('changes the machine-to-physical table for frames of its own', () => {
    const t = host()
    expect(t.mmuUpdate([[at(DATA, 0, 1), 0x77n]])).toEqual([0, 1])
    expect(t.frames.table.pfnOf(DATA)).toBe(0x77)
    expect(t.mmuUpdate([[at(DATA, 0, 1), 1n << 40n]])).toEqual([0, 1])
    expect(t.frames.table.pfnOf(DATA)).toBe(-1)
    expect(t.mmuUpdate([[at(4, 0, 1), 1n]])).toEqual([Errno.EINVAL, 0])
    // DOMID_IO's frames, in its name.
    expect(t.mmuUpdate([[at(IO_FRAMES - 1, 0, 1), 1n]], DOMID.IO)).toEqual([0, 1])
  })

  it('knows whose frames may be meant', () => {
    const t = host()
    const one = [[at(L1, 0), entry(DATA, PRESENT)]] as const
    expect(t.mmuUpdate(one, DOMU)).toEqual([Errno.ESRCH, 0])
    expect(t.mmuUpdate(one, 77)).toEqual([Errno.ESRCH, 0])
    expect(t.mmuUpdate(one, DOM0)).toEqual([Errno.EPERM, 0])
    expect(t.mmuUpdate(one, DOMID.XEN)).toEqual([Errno.EPERM, 0])
    expect(t.mmuUpdate(one, DOMID.IO)).toEqual([Errno.EBUSY, 0])
    // Tables of its own by its number, then of another domain.
    expect(t.mmuUpdate(one, DOMID.SELF | ((DOMU + 1) << 16))).toEqual([0, 1])
    expect(t.mmuUpdate(one, DOMID.SELF | ((DOM0 + 1) << 16))).toEqual([Errno.EPERM, 0])
    t.write(t.buffer + 4088, 0xffn)
    expect(t.mmuUpdate(one, DOMID.SELF | (99 << 16))).toEqual([Errno.ESRCH, 0xff])
  })

  it('reads its requests wherever they are, and no further than they can be read', () => {
    const t = host({ frames: 64 })
    // Unaligned, and across pages.
    const address = (OTHER + 1) * 4096 - 20
    t.write(address, at(L1, 1), entry(DATA, PRESENT), at(L1, 2), entry(DATA, PRESENT))
    expect(mmuHypercalls[0].run?.(t.args(address, 2, 0, DOMID.SELF))).toBe(0)
    expect([1, 2].map((slot) => t.frames.entry(L1, slot) !== 0n)).toEqual([true, true])
    const end = 64 * 4096 - 16
    t.write(end, at(L1, 3), entry(DATA, PRESENT))
    const call = t.args(end, 5, t.buffer, DOMID.SELF)
    expect(mmuHypercalls[0].run?.(call)).toBe(Errno.EFAULT)
    expect(t.read(t.buffer) & 0xffffffffn).toBe(1n)
    expect(mmuHypercalls[0].run?.(t.args(0xffff800000000000n, 1, 0, DOMID.SELF))).toBe(Errno.EFAULT)
  })

  it('is sliced when it is long, and goes on where it stopped', () => {
    const t = host({ frames: 600 })
    const list = (FIRST_OWN + 20) * 4096
    const count = 40_000
    const words = []
    for (let i = 0; i < count; i++) words.push(at(L1, i & 511), entry(DATA, i & 512 ? PRESENT : PRESENT | RW))
    t.write(list, ...words)
    const done = t.buffer
    const call = t.args(list, count, done, DOMID.SELF)
    let slices = 0
    let answer: unknown
    do {
      answer = mmuHypercalls[0].run?.(call)
      slices++
    } while (answer === 'continue')
    expect(answer).toBe(0)
    expect(slices).toBeGreaterThan(1)
    expect(t.read(done) & 0xffffffffn).toBe(BigInt(count))
    expect(audit(t.frames.table, holders)).toEqual([])
  })
})

describe('update_va_mapping', () => {
  const run = (t: TestCalls, va: bigint | number, val: bigint, flags: bigint | number = 0) =>
    mmuHypercalls[1].run?.(t.args(va, val, flags))

  it('changes the entry of a linear address', () => {
    const t = host()
    expect(run(t, 0x7000, entry(DATA, PRESENT | RW))).toBe(0)
    expect(t.frames.entry(L1, 7)).toBe(entry(DATA, PRESENT | RW | USER) | KERNEL)
    expect(t.frames.log).toEqual([])
    expect(run(t, 0x200000, 0n)).toBe(Errno.EINVAL)
    expect(run(t, 0xffff800000000000n, 0n)).toBe(Errno.EINVAL)
    expect(run(t, 0x800000000000n, 0n)).toBe(Errno.EINVAL)
    expect(run(t, 0x7000, entry(L1, PRESENT | RW))).toBe(Errno.EBUSY)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it.each([
    [0, []],
    [1, ['flush 1']],
    [2, ['page 1 0x7000']],
    [5, ['flush 0', 'flush 1']],
    [6, ['page 0 0x7000', 'page 1 0x7000']],
    [3, []],
  ])('flushes by flags %i', (flags, log) => {
    const t = host({ vcpus: 2 })
    t.call.vcpu = 1
    t.mmuext(Mmuext.NEW_BASEPTR, L4)
    t.frames.log.length = 0
    expect(run(t, 0x7000, 0n, flags)).toBe(0)
    expect(t.frames.log).toEqual(log)
  })

  it('flushes on the vCPUs of a mask', () => {
    const t = host({ vcpus: 2 })
    t.write(t.buffer, 2n)
    expect(run(t, 0x7000, 0n, t.buffer | 1)).toBe(0)
    expect(t.frames.log).toEqual(['flush 1'])
    // The entry is changed before the mask is read.
    expect(run(t, 0x7000, entry(DATA, PRESENT), 0xffff800000000001n)).toBe(Errno.EFAULT)
    expect(t.frames.entry(L1, 7)).not.toBe(0n)
  })

  it('takes frames of nobody else', () => {
    const t = host()
    const other = (domid: number) => mmuHypercalls[2].run?.(t.args(0x7000, 0n, 0, domid))
    expect([DOMID.SELF, DOMU, DOM0, DOMID.IO, 99].map(other)).toEqual([
      0,
      Errno.ESRCH,
      Errno.EPERM,
      Errno.EPERM,
      Errno.ESRCH,
    ])
  })
})

describe('mmuext_op', () => {
  it('pins and unpins', () => {
    const t = host()
    t.frames.set(OTHER, 0, DATA, PRESENT | RW)
    expect(t.mmuext(Mmuext.PIN_L1_TABLE, OTHER)).toBe(0)
    expect(t.mmuext(Mmuext.PIN_L1_TABLE, OTHER)).toBe(Errno.EINVAL)
    expect(t.mmuext(Mmuext.PIN_L1_TABLE + 1, OTHER)).toBe(Errno.EINVAL)
    expect(t.mmuext(Mmuext.PIN_L1_TABLE, DATA)).toBe(Errno.EINVAL)
    expect(audit(t.frames.table, holders)).toEqual([])
    expect(t.mmuext(Mmuext.UNPIN_TABLE, OTHER)).toBe(0)
    expect(t.mmuext(Mmuext.UNPIN_TABLE, OTHER)).toBe(Errno.EINVAL)
    expect(t.mmuext(Mmuext.UNPIN_TABLE, 4)).toBe(Errno.EINVAL)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('changes roots; the machine-to-physical table is in the kernel’s', () => {
    const t = host()
    expect(t.frames.entry(L4, 256)).not.toBe(0n)
    expect(t.mmuext(Mmuext.NEW_BASEPTR, DATA)).toBe(0)
    expect(t.mmuext(Mmuext.NEW_USER_BASEPTR, OTHER)).toBe(0)
    expect(t.frames.entry(OTHER, 256)).toBe(0n)
    expect(t.mmuext(Mmuext.NEW_BASEPTR, L1)).toBe(Errno.EINVAL)
    expect(t.log.slice(-2)).toEqual([`roots 0 ${DATA} 0`, `roots 0 ${DATA} ${OTHER}`])
    expect(
      audit(
        t.frames.table,
        [DATA, OTHER].map((frame) => ({ frame, typed: true })),
      ),
    ).toEqual([])
    expect(t.mmuext(Mmuext.NEW_USER_BASEPTR, 0)).toBe(0)
    expect(t.frames.table.typeRefs[OTHER]).toBe(0)
  })

  it('with m2p_strict shows it while a table is no user root', () => {
    const t = host()
    t.frames.table.strictM2p = true
    expect(t.mmuext(Mmuext.PIN_L4_TABLE, OTHER)).toBe(0)
    expect(t.frames.entry(OTHER, 256)).not.toBe(0n)
    expect(t.mmuext(Mmuext.NEW_USER_BASEPTR, OTHER)).toBe(0)
    expect(t.frames.entry(OTHER, 256)).toBe(0n)
  })

  it('flushes', () => {
    const t = host({ vcpus: 3 })
    t.write(t.buffer + 512, 0b101n)
    t.mmuext(Mmuext.TLB_FLUSH_LOCAL)
    t.mmuext(Mmuext.INVLPG_LOCAL, 0xffff888000001000n)
    t.mmuext(Mmuext.TLB_FLUSH_MULTI, 0, t.buffer + 512)
    t.mmuext(Mmuext.INVLPG_MULTI, 0x1000, t.buffer + 512)
    t.mmuext(Mmuext.INVLPG_ALL, 0xffff800000000000n)
    t.mmuext(Mmuext.TLB_FLUSH_ALL)
    expect(t.frames.log).toEqual([
      'flush 0',
      'page 0 0xffff888000001000',
      'flush 0',
      'flush 2',
      'page 0 0x1000',
      'page 2 0x1000',
      'flush 0',
      'flush 1',
      'flush 2',
    ])
    expect(t.mmuext(Mmuext.TLB_FLUSH_MULTI, 0, 0xffff800000000000n)).toBe(Errno.EINVAL)
  })

  it('clears and copies what is not in other use', () => {
    const t = host()
    t.write(DATA * 4096 + 8, 7n)
    expect(t.mmuext(Mmuext.COPY_PAGE, OTHER, DATA)).toBe(0)
    expect(t.frames.entry(OTHER, 1)).toBe(7n)
    expect(t.mmuext(Mmuext.CLEAR_PAGE, OTHER)).toBe(0)
    expect(t.frames.entry(OTHER, 1)).toBe(0n)
    expect(t.mmuext(Mmuext.CLEAR_PAGE, L1)).toBe(Errno.EINVAL)
    expect(t.mmuext(Mmuext.COPY_PAGE, L1, DATA)).toBe(Errno.EINVAL)
    // From a table it may.
    expect(t.mmuext(Mmuext.COPY_PAGE, OTHER, L2)).toBe(0)
    expect(t.mmuext(Mmuext.COPY_PAGE, OTHER, 4)).toBe(Errno.EINVAL)
    expect(audit(t.frames.table, holders)).toEqual([])
  })

  it('sets the LDT, whose pages become descriptor tables when they are used', () => {
    const t = host()
    t.mmuUpdate([
      [at(L1, 8), entry(DATA, PRESENT)],
      [at(L1, 9), entry(OTHER, PRESENT | RW)],
    ])
    expect(t.mmuext(Mmuext.SET_LDT, 0x8001, 1)).toBe(Errno.EINVAL)
    expect(t.mmuext(Mmuext.SET_LDT, 0x8000, 8193)).toBe(Errno.EINVAL)
    expect(t.mmuext(Mmuext.SET_LDT, 0xffff800000000000n, 1)).toBe(Errno.EINVAL)
    expect(t.mmuext(Mmuext.SET_LDT, 0x8000, 1024)).toBe(0)
    expect(t.mm.loadLdtPage(0, 0x10)).toBe(true)
    expect(t.frames.table.types[DATA] & 7).toBe(Type.SEG_DESC)
    expect(t.mmuUpdate([[at(L1, 0), entry(DATA, PRESENT | RW)]])).toEqual([Errno.EBUSY, 0])
    // Writable, out of the limit, not mapped.
    expect([0x1000, 0x2000].map((offset) => t.mm.loadLdtPage(0, offset))).toEqual([false, false])
    expect(t.mmuext(Mmuext.SET_LDT, 0, 0)).toBe(0)
    expect(t.frames.table.typeRefs[DATA]).toBe(0)
    expect(t.log.filter((line) => line.startsWith('ldt'))).toEqual([
      'ldt 0 0 32768 1024',
      `ldt page 0 0 ${DATA}`,
      'ldt page 0 0 0',
      'ldt 0 0 0 0',
    ])
  })

  it('has no more than Xen gives a domain without devices', () => {
    const t = host()
    expect(t.mmuext(Mmuext.FLUSH_CACHE)).toBe(Errno.EACCES)
    expect(t.mmuext(Mmuext.FLUSH_CACHE_GLOBAL)).toBe(Errno.EINVAL)
    expect(t.mmuext(Mmuext.MARK_SUPER)).toBe(Errno.EOPNOTSUPP)
    expect(t.mmuext(14)).toBe(Errno.ENOSYS)
    expect(mmuHypercalls[3].run?.(t.args(t.buffer, 1, 0, DOMID.IO))).toBe(Errno.EPERM)
    expect(mmuHypercalls[3].run?.(t.args(t.buffer, 1, 0, DOMU))).toBe(Errno.ESRCH)
  })
})
