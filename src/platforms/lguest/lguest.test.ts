/** What lguest's host does for a guest, and for what it kills one. */
import { describe, expect, test } from 'vitest'
import { Data, LHCALL, Reg, Shutdown } from './abi.ts'
import { PAGE } from './frames.ts'
import { State } from './switcher.ts'
import { DATA, ENTRY, KERNEL, MEMORY, PAGES, PGDIR, PMDS, PTES, STACK, TestGuest } from './testing.ts'

const EFLAGS_IF = 0x200
const gate = (handler: number, type: number, dpl = 0): readonly [number, number] => [
  (0x600000 | (handler & 0xffff)) >>> 0,
  ((handler & 0xffff0000) | 0x8000 | (dpl << 13) | (type << 8)) >>> 0,
]
/** The processor's gate for a vector. */
const realGate = ({ view, map }: TestGuest, vector: number) => {
  const at = map.state * PAGE + State.IDT + 8 * vector
  return [view.getUint32(at, true), view.getUint32(at + 4, true)]
}
const descriptor = ({ view, map }: TestGuest, index: number) => {
  const at = map.state * PAGE + State.GDT + 8 * index
  return [view.getUint32(at, true), view.getUint32(at + 4, true)]
}
/** What the guest was killed for. */
const death = ({ mock }: TestGuest) =>
  mock.log.filter((line) => line.startsWith('crash lguest: ')).map((line) => line.slice('crash lguest: '.length))

describe('the beginning', () => {
  test('in ring 1, with paging, under the host’s descriptor tables', () => {
    const { entered } = new TestGuest().mock.vcpus[0]
    expect(entered).toMatchObject({ rip: ENTRY, rsi: 0, rflags: 0x202, cr0: 0x80050033 })
    expect(entered?.cs).toMatchObject({ selector: 0x61, attributes: 0xcbb })
    expect(entered?.data).toMatchObject({ selector: 0x69, attributes: 0xcb3 })
    expect(entered?.tr.selector).toBe(0x80)
  })

  test('boot_params say lguest, one piece of memory, and where the command line is', () => {
    const { view, mock } = new TestGuest()
    expect(view.getUint32(0x23c, true)).toBe(1)
    expect(view.getUint8(0x1e8)).toBe(1)
    expect(view.getBigUint64(0x2d8, true)).toBe(BigInt(MEMORY))
    expect(view.getUint16(0x206, true)).toBe(0x207)
    expect(view.getUint8(0x211)).toBe(0x40)
    expect(new TextDecoder().decode(mock.ram.subarray(view.getUint32(0x228, true)).subarray(0, 4))).toBe('x=1\0')
  })

  test('page tables map all memory at 0 and at 3 GiB', () => {
    const { view } = new TestGuest()
    expect([0, 3].map((i) => view.getBigUint64(PGDIR + 8 * i, true))).toEqual([BigInt(PMDS | 1), BigInt(PMDS | 1)])
    expect(view.getBigUint64(PMDS, true)).toBe(BigInt(PTES | 7))
    expect(view.getBigUint64(PTES + 8 * 255, true)).toBe(BigInt((255 << 12) | 7))
    expect(view.getBigUint64(PTES + 8 * 256, true)).toBe(0n)
  })
})

describe('LGUEST_INIT', () => {
  test('tells the guest what it must know', () => {
    const guest = new TestGuest()
    guest.prepareData()
    expect(guest.call(LHCALL.LGUEST_INIT, DATA)).toBe('go')
    expect(guest.field(Data.TSC_KHZ)).toBe(1_000_000)
    expect(guest.field(Data.RESERVE_MEM)).toBe(2 << 20)
    expect(guest.field(Data.PGDIR)).toBe(PGDIR)
    expect(guest.field(Data.TIME)).toBe(Date.UTC(2026, 0, 1) / 1000)
    expect(guest.events.map(({ request, args }) => [request.name, args])).toEqual([
      ['LHCALL_LGUEST_INIT', [BigInt(DATA)]],
    ])
  })

  test.each([
    [LHCALL.HALT, DATA, {}, 'hypercall 10 before INIT'],
    [LHCALL.LGUEST_INIT, 0xfffffff0, {}, 'bad guest page (null)'],
    [LHCALL.LGUEST_INIT, DATA, { [Data.SYSCALL_VEC]: 0x40 }, 'bad syscall vector'],
    [LHCALL.LGUEST_INIT, DATA, { [Data.KERNEL_ADDRESS]: 0xffe00000 }, 'bad kernel address 0xffe00000'],
  ])('%i at 0x%x with %o: %s', (call, address, fields, reason) => {
    const guest = new TestGuest()
    guest.prepareData()
    for (const [offset, value] of Object.entries(fields)) guest.setField(Number(offset), value)
    guest.call(call, address)
    expect(death(guest)).toEqual([reason])
  })

  test('only once', () => {
    const guest = TestGuest.ready()
    guest.call(LHCALL.LGUEST_INIT, DATA)
    expect(death(guest)).toEqual(['already have lguest_data'])
  })
})

describe('hypercalls', () => {
  test.each([
    [3, [], 'Bad hypercall 3\n'],
    [20, [], 'Bad hypercall 20\n'],
    [0xffffffff, [], 'Bad hypercall -1\n'],
    [LHCALL.LOAD_IDT_ENTRY, [256, 0, 0], 'Setting idt entry 256'],
    [LHCALL.LOAD_IDT_ENTRY, [1, 0, 0x8500], 'bad IDT type 5'],
    [LHCALL.SET_STACK, [0x68, STACK, 1], 'bad stack segment 104'],
    [LHCALL.SET_STACK, [0x69, STACK, 3], 'bad stack pages 3'],
    [LHCALL.SET_STACK, [0x69, KERNEL + MEMORY + PAGE, 1], 'bad stack page 0xc0100fff'],
    [LHCALL.LOAD_GDT_ENTRY, [32, 0, 0], 'too many gdt entries 32'],
    [LHCALL.LOAD_TLS, [0xfffffff8, 0], 'bad read address 0xfffffff8 len 24'],
    [LHCALL.NOTIFY, [0x40000000], 'Bad NOTIFY 0x40000000'],
  ])('%i %o: %s', (call, args, reason) => {
    const guest = TestGuest.ready()
    guest.call(call, ...args)
    expect(death(guest)).toEqual([reason])
  })

  test('gates: interrupt gates come to the host, trap gates go to the guest’s ring 1', () => {
    const guest = TestGuest.ready()
    const own = realGate(guest, 3)
    guest.call(LHCALL.LOAD_IDT_ENTRY, 0x80, ...gate(0xc0012345, 0xf, 3))
    expect(realGate(guest, 0x80)).toEqual([0x612345, 0xc001ef00])
    guest.call(LHCALL.LOAD_IDT_ENTRY, 3, ...gate(0xc0012345, 0xe, 3))
    expect(realGate(guest, 3)).toEqual([own[0], (own[1]! | 0x6000) >>> 0])
    guest.call(LHCALL.LOAD_IDT_ENTRY, 14, ...gate(0xc0012345, 0xf, 3))
    expect(realGate(guest, 14)[1]! & 0x6000).toBe(0)
    guest.call(LHCALL.LOAD_IDT_ENTRY, 0x1f, ...gate(0xc0012345, 0xf))
    expect(realGate(guest, 0x1f)[1]! & 0x6000).toBe(0x2000)
    guest.call(LHCALL.LOAD_IDT_ENTRY, 0x80, 0, 0)
    expect(realGate(guest, 0x80)[0]! >>> 16).toBe(0x50)
  })

  test('descriptors: ring 0 becomes ring 1, all are accessed, four are the host’s', () => {
    const guest = TestGuest.ready()
    guest.call(LHCALL.LOAD_GDT_ENTRY, 12, 0xffff, 0xcf9a00)
    expect(descriptor(guest, 12)).toEqual([0xffff, 0xcfbb00])
    guest.call(LHCALL.LOAD_GDT_ENTRY, 14, 0xffff, 0xcffa00)
    expect(descriptor(guest, 14)).toEqual([0xffff, 0xcffb00])
    for (const index of [10, 11, 16, 31]) {
      const before = descriptor(guest, index)
      guest.call(LHCALL.LOAD_GDT_ENTRY, index, 1, 2)
      expect(descriptor(guest, index)).toEqual(before)
    }
    guest.view.setBigUint64(0x5008, 0x00cff2000000ffffn, true)
    guest.call(LHCALL.LOAD_TLS, 0x5000, 0)
    expect([6, 7, 8].map((i) => descriptor(guest, i))).toEqual([
      [0, 0x2100],
      [0xffff, 0xcff300],
      [0, 0x2100],
    ])
  })

  test('TS', () => {
    const guest = TestGuest.ready()
    guest.call(LHCALL.TS, 8)
    guest.call(LHCALL.TS, 0)
    expect(guest.mock.log).toEqual(['ts 0 1', 'ts 0 0'])
  })

  test('the stack is mapped, and the processor’s for traps', () => {
    const guest = TestGuest.ready()
    guest.call(LHCALL.SET_STACK, 0x69, STACK, 2)
    expect([1, 2, 3].map((i) => guest.shadow(STACK - i * PAGE))).toEqual([0x31067n, 0x30067n, 0n])
    const tss = guest.map.state * PAGE + State.TSS
    expect([guest.view.getUint32(tss + 12, true), guest.view.getUint16(tss + 16, true)]).toEqual([STACK, 0x69])
  })

  test.each([
    [Shutdown.POWEROFF, ['report lguest: CRASH: bye', 'power-off']],
    [Shutdown.RESTART, ['reset']],
  ])('SHUTDOWN %i', (reason, log) => {
    const guest = TestGuest.ready()
    guest.mock.ram.set(new TextEncoder().encode('bye\0'), 0x5000)
    expect(guest.call(LHCALL.SHUTDOWN, 0x5000, reason)).toBe('again')
    expect(guest.mock.log).toEqual(['park 0', ...log])
  })

  test('SHUTDOWN with a message that is nowhere', () => {
    const guest = TestGuest.ready()
    guest.call(LHCALL.SHUTDOWN, 0x40000000, Shutdown.POWEROFF)
    expect(death(guest)).toEqual(['bad read address 0x40000000 len 128'])
    const other = TestGuest.ready()
    other.call(LHCALL.SHUTDOWN, 0x40000000, Shutdown.RESTART)
    expect(other.mock.log).toEqual(['park 0', 'reset'])
  })

  test('of the ring come first, in order, and their slots are free again', () => {
    const guest = TestGuest.ready()
    guest.queue(0, LHCALL.TS, 8)
    guest.queue(1, LHCALL.LOAD_GDT_ENTRY, 12, 1, 2)
    guest.call(LHCALL.FLUSH_ASYNC)
    expect(guest.events.slice(1).map(({ request }) => request.name)).toEqual([
      'LHCALL_TS',
      'LHCALL_LOAD_GDT_ENTRY',
      'LHCALL_FLUSH_ASYNC',
    ])
    expect([0, 1, 2].map((i) => guest.view.getUint8(DATA + Data.HCALL_STATUS + i))).toEqual([255, 255, 255])
    // The next one begins where this one ended.
    guest.queue(0, LHCALL.TS, 0)
    guest.call(LHCALL.SEND_INTERRUPTS)
    expect(guest.view.getUint8(DATA + Data.HCALL_STATUS)).toBe(0)
  })
})

describe('shadow page tables', () => {
  const address = KERNEL + 0x5000

  test('an entry comes with the first fault, writable with the first store', () => {
    const guest = TestGuest.ready()
    expect(guest.fault(address, 0)).toBe('go')
    expect(guest.shadow(address)).toBe(0x5025n)
    expect(guest.view.getBigUint64(PTES + 8 * 5, true)).toBe(0x5027n)
    guest.fault(address, 3)
    expect(guest.shadow(address)).toBe(0x5067n)
    expect(guest.view.getBigUint64(PTES + 8 * 5, true)).toBe(0x5067n)
    expect(guest.field(Data.CR2)).toBe(0)
  })

  test('a fault of the guest’s is delivered, with CR2', () => {
    const guest = TestGuest.ready()
    guest.call(LHCALL.LOAD_IDT_ENTRY, 14, ...gate(0xc0012344, 0xe))
    guest.setField(Data.IRQ_ENABLED, EFLAGS_IF)
    guest.setReg(Reg.EIP, 0xc0005678)
    guest.fault(KERNEL + MEMORY, 2)
    expect(guest.field(Data.CR2)).toBe(KERNEL + MEMORY)
    expect([Reg.EIP, Reg.CS, Reg.ESP, Reg.SS].map((r) => guest.reg(r))).toEqual([0xc0012344, 0x61, STACK - 16, 0x69])
    const frame = [0, 4, 8, 12].map((i) => guest.view.getUint32(STACK - KERNEL - 16 + i, true))
    expect(frame).toEqual([2, 0xc0005678, 0x61, 0x202])
    expect(guest.field(Data.IRQ_ENABLED)).toBe(0)
  })

  test('without a handler it dies', () => {
    const guest = TestGuest.ready()
    guest.fault(KERNEL + MEMORY, 2)
    expect(death(guest)).toEqual([`unhandled trap 14 at 0x10000 (0xc0100000)`])
  })

  const entries: readonly [string, number, bigint, string][] = [
    ['pgd flags', PGDIR, BigInt(PMDS | 3), 'bad page directory entry'],
    ['pgd frame', PGDIR, 0x7fffffff001n, 'bad page directory entry'],
    [
      'kernel’s pgd frame, whose shadow is always there',
      PGDIR + 24,
      0x7fffffff001n,
      'bad read address 0xfffff000 len 8',
    ],
    ['pmd flags', PMDS, BigInt(PTES | 0x87), 'bad page middle directory entry'],
    ['pte frame', PTES + 40, 0x40000007n, 'bad page table entry'],
    ['pte size', PTES + 40, 0x5087n, 'bad page table entry'],
  ]
  test.each(entries)('%s', (_, at, entry, reason) => {
    const guest = TestGuest.ready()
    guest.view.setBigUint64(at, entry, true)
    guest.call(LHCALL.FLUSH_TLB, 1)
    guest.fault(at === PGDIR ? 0x5000 : address, 0)
    expect(death(guest)).toEqual([reason])
  })

  test('the switcher’s addresses are nobody’s', () => {
    const guest = TestGuest.ready()
    guest.view.setBigUint64(PMDS + 8 * 511, BigInt(PTES | 7), true)
    guest.fault(0xffe05000, 0)
    expect(death(guest)).toEqual(['attempt to access switcher pages'])
    const other = TestGuest.ready()
    other.fault(address, 0)
    other.call(LHCALL.SET_PTE, PGDIR, 0xffe05000, 0x5067, 0)
    expect(death(other)).toEqual(['attempt to access switcher pages'])
  })

  test('SET_PTE replaces an entry that has been used, or forgets it', () => {
    const guest = TestGuest.ready()
    guest.fault(address, 3)
    guest.call(LHCALL.SET_PTE, PGDIR, address, 0x6067, 0)
    expect(guest.shadow(address)).toBe(0x6067n)
    expect(guest.reload).toBe(guest.root)
    guest.call(LHCALL.SET_PTE, PGDIR, address, 0x6007, 0)
    expect(guest.shadow(address)).toBe(0n)
    guest.call(LHCALL.SET_PTE, PGDIR, address, 0x40000067, 0)
    expect(death(guest)).toEqual(['bad page table entry'])
  })

  test('global pages are not', () => {
    const guest = TestGuest.ready()
    guest.fault(address, 0)
    guest.call(LHCALL.SET_PTE, PGDIR, address, 0x6167, 0)
    expect(guest.shadow(address)).toBe(0x6067n)
  })

  test('flushing: of the user only, of all, by SET_PMD and SET_PGD', () => {
    const guest = TestGuest.ready()
    const user = 0x5000
    const fill = () => {
      for (const at of [user, address]) guest.fault(at, 0)
    }
    fill()
    expect([user, address].map((at) => guest.shadow(at))).toEqual([0x5025n, 0x5025n])
    guest.call(LHCALL.FLUSH_TLB, 0)
    expect([user, address].map((at) => guest.shadow(at))).toEqual([undefined, 0x5025n])
    guest.call(LHCALL.FLUSH_TLB, 1)
    expect([user, address].map((at) => guest.shadow(at))).toEqual([undefined, undefined])
    fill()
    guest.call(LHCALL.SET_PGD, PGDIR, 0)
    guest.call(LHCALL.SET_PGD, PGDIR, 3)
    expect([user, address].map((at) => guest.shadow(at))).toEqual([undefined, 0x5025n])
    guest.call(LHCALL.SET_PMD, PMDS, 0)
    expect(guest.shadow(address)).toBeUndefined()
  })

  test('four are kept, each with its own CR3', () => {
    const guest = TestGuest.ready()
    const roots = [PGDIR, 0x40000, 0x41000, 0x42000, PGDIR].map((table) => {
      guest.mock.ram.copyWithin(table, PGDIR, PGDIR + 32)
      guest.call(LHCALL.NEW_PGTABLE, table)
      return guest.reload
    })
    expect(new Set(roots).size).toBe(4)
    expect(roots[4]).toBe(roots[0])
    // A fifth takes one's place.
    guest.mock.ram.copyWithin(0x43000, PGDIR, PGDIR + 32)
    guest.call(LHCALL.NEW_PGTABLE, 0x43000)
    expect(roots).toContain(guest.reload)
  })

  test('no memory for them', () => {
    const guest = TestGuest.ready({ pool: 3 })
    guest.fault(address, 0)
    guest.fault(0x5000, 0)
    expect(death(guest)).toEqual(['out of memory allocating pte page'])
  })
})

describe('interrupts', () => {
  const ready = () => {
    const guest = TestGuest.ready()
    guest.call(LHCALL.LOAD_IDT_ENTRY, 32, ...gate(0xc0030000, 0xe))
    guest.setField(Data.IRQ_ENABLED, EFLAGS_IF)
    guest.setField(Data.BLOCKED_INTERRUPTS, 0)
    guest.mock.log.length = 0
    return guest
  }

  test('the clock’s comes when it was asked for', () => {
    const guest = ready()
    guest.call(LHCALL.SET_CLOCKEVENT, 1000)
    guest.mock.advance(999)
    expect(guest.mock.vcpus[0].line?.()).toBe(-1)
    guest.mock.advance(1)
    expect(guest.mock.vcpus[0].line?.()).toBe(0xfd)
    guest.trap(0xfd)
    expect(guest.reg(Reg.EIP)).toBe(0xc0030000)
    expect(guest.field(Data.IRQ_ENABLED)).toBe(0)
    expect(guest.mock.vcpus[0].line?.()).toBe(-1)
  })

  test('0 turns the clock off', () => {
    const guest = ready()
    guest.call(LHCALL.SET_CLOCKEVENT, 1000)
    guest.call(LHCALL.SET_CLOCKEVENT, 0)
    guest.mock.advance(5000)
    expect(guest.mock.vcpus[0].line?.()).toBe(-1)
  })

  test('it waits while it is blocked, while interrupts are off, and where none may come', () => {
    const guest = ready()
    guest.setField(Data.IRQ_ENABLED, 0)
    guest.call(LHCALL.SET_CLOCKEVENT, 1000)
    guest.mock.advance(1000)
    guest.trap(0xfd)
    expect([guest.reg(Reg.EIP), guest.field(Data.IRQ_PENDING)]).toEqual([ENTRY, EFLAGS_IF])
    // The host looks again by itself.
    guest.mock.advance(1_000_000)
    expect(guest.mock.vcpus[0].line?.()).toBe(0xfd)
    guest.setField(Data.IRQ_ENABLED, EFLAGS_IF)
    guest.setReg(Reg.EIP, KERNEL + 0x1008)
    guest.trap(0xfd)
    expect(guest.reg(Reg.EIP)).toBe(KERNEL + 0x1008)
    guest.setReg(Reg.EIP, KERNEL + 0x1010)
    guest.setField(Data.BLOCKED_INTERRUPTS, 1)
    guest.call(LHCALL.SEND_INTERRUPTS)
    expect(guest.reg(Reg.EIP)).toBe(KERNEL + 0x1010)
    guest.setField(Data.BLOCKED_INTERRUPTS, 0)
    guest.call(LHCALL.SEND_INTERRUPTS)
    expect([guest.reg(Reg.EIP), guest.field(Data.IRQ_PENDING)]).toEqual([0xc0030000, 0])
  })

  test('HALT sleeps until one comes, with interrupts on', () => {
    const guest = ready()
    guest.setField(Data.IRQ_ENABLED, 0)
    guest.call(LHCALL.SET_CLOCKEVENT, 1000)
    expect(guest.call(LHCALL.HALT)).toBe('again')
    expect(guest.mock.log).toContain('block 0')
    guest.mock.advance(1000)
    expect(guest.enter()).toBe('go')
    expect(guest.reg(Reg.EIP)).toBe(0xc0030000)
    expect(guest.view.getUint32(STACK - KERNEL - 4, true)).toBe(0x202)
  })

  test('after a NOTIFY in the ring the calls behind it come first', () => {
    const guest = ready()
    guest.call(LHCALL.SET_CLOCKEVENT, 1000)
    guest.mock.advance(1000)
    guest.queue(0, LHCALL.NOTIFY, 0x30000)
    guest.queue(1, LHCALL.LOAD_IDT_ENTRY, 32, ...gate(0xc0040000, 0xe))
    guest.call(LHCALL.FLUSH_ASYNC)
    expect(guest.mock.log).toContain('console 0 ""')
    expect(guest.reg(Reg.EIP)).toBe(0xc0040000)
  })

  test('from user mode it comes on the kernel’s stack', () => {
    const guest = ready()
    guest.call(LHCALL.SET_STACK, 0x69, STACK, 1)
    guest.call(LHCALL.SET_CLOCKEVENT, 1)
    guest.mock.advance(1)
    guest.setReg(Reg.CS, 0x73)
    guest.setReg(Reg.SS, 0x7b)
    guest.setReg(Reg.ESP, 0xbfff0000)
    guest.setReg(Reg.EIP, 0x8048000)
    guest.trap(0xfd)
    expect([Reg.SS, Reg.ESP, Reg.CS].map((r) => guest.reg(r))).toEqual([0x69, STACK - 20, 0x61])
    const frame = [0, 4, 8, 12, 16].map((i) => guest.view.getUint32(STACK - KERNEL - 20 + i, true))
    expect(frame).toEqual([0x8048000, 0x73, 0x202, 0xbfff0000, 0x7b])
  })
})

describe('instructions that the host does', () => {
  const code = (...bytes: readonly number[]) => {
    const guest = TestGuest.ready()
    guest.mock.ram.set(bytes, ENTRY)
    guest.setReg(Reg.EAX, 0x12345678)
    return guest
  }

  test.each([
    ['cli', [0xfa], 1, 0x12345678],
    ['in al, 0x60', [0xe4, 0x60], 2, 0x1234ffff],
    ['in eax, dx', [0xed], 1, 0xffffffff],
    ['in ax, dx', [0x66, 0xed], 2, 0xffffffff],
    ['out 0x80, al', [0xe6, 0x80], 2, 0x12345678],
    ['out dx, ax', [0x66, 0xef], 2, 0x12345678],
  ])('%s', (_, bytes, length, eax) => {
    const guest = code(...bytes)
    expect(guest.trap(13, 0)).toBe('go')
    expect([guest.reg(Reg.EIP), guest.reg(Reg.EAX)]).toEqual([ENTRY + length, eax])
  })

  test.each([6, 13])('VMCALL is rewritten, after exception %i', (vector) => {
    const guest = code(0x0f, 0x01, 0xc1)
    guest.trap(vector, 0)
    expect([...guest.mock.ram.subarray(ENTRY, ENTRY + 3)]).toEqual([0xcd, 0x1f, 0x90])
    expect(guest.reg(Reg.EIP)).toBe(ENTRY)
  })

  test('nothing for user mode, nor with an error code', () => {
    const guest = code(0xfa)
    guest.call(LHCALL.LOAD_IDT_ENTRY, 13, ...gate(0xc0040000, 0xe))
    guest.trap(13, 0x10)
    expect(guest.reg(Reg.EIP)).toBe(0xc0040000)
    const user = code(0xfa)
    user.setReg(Reg.CS, 0x73)
    user.trap(13, 0)
    expect(death(user)).toEqual(['unhandled trap 13 at 0x10000 (0)'])
  })

  test('a fault where nothing is mapped', () => {
    const guest = TestGuest.ready()
    guest.setReg(Reg.EIP, KERNEL + MEMORY)
    guest.trap(13, 0)
    expect(death(guest)).toEqual(['Bad address 0xc0100000'])
  })

  test('the switcher’s own faults', () => {
    const guest = TestGuest.ready()
    guest.mock.vcpus[0].registers.set('rsp', 0xffe02f00n)
    guest.trap(13, 0x88)
    expect(death(guest)).toEqual(['unhandled trap 256 at 0x10000 (0x88)'])
  })

  test('VMCALL of the guest’s own is none', () => {
    const guest = TestGuest.ready()
    guest.mock.vcpus[0].privilege = 1
    expect(guest.platform.hypercall(0, 'vmcall')).toBe(false)
    guest.mock.vcpus[0].privilege = 0
    expect(guest.platform.hypercall(0, 'vmmcall')).toBe(false)
  })
})

test('what no guest may see is beyond its memory', () => {
  const { map, mock } = TestGuest.ready()
  expect(map.devices).toBe(PAGES)
  expect(mock.effects.memory.kind(map.devices)).toBe('ram')
  expect(map.switcher).toBe(PAGES + 256)
})
