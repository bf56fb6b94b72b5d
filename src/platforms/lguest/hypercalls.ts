/**
 * The hypercalls: INT 0x1F with the number in EAX and up to four arguments in EBX, ECX, EDX and ESI, or a slot of the
 * ring in struct lguest_data. None has a result; a guest that says nonsense is killed (drivers/lguest/hypercalls.c).
 */
import { byNumber, type Argument, type Declaration } from '../../paravirt/requests.ts'
import { Data, LHCALL, Shutdown } from './abi.ts'
import type { HcallArgs } from './lguest.ts'
import type { Parts } from './parts.ts'

export interface Hypercall extends Declaration {
  readonly kind: 'hypercall'
  readonly run?: (parts: Parts, args: HcallArgs) => void
}

const u32 = (name: string): Argument => ({ name, type: { kind: 'u32' } })
const linear = (name: string): Argument => ({ name, type: { kind: 'linear' } })
const gpa = (name: string, length: number, align = 4): Argument => ({ name, type: { kind: 'gpa', length, align } })

const common = {
  kind: 'hypercall',
  tier: 'call',
  args: [],
  errors: {},
  ops: [],
  source: 'Linux 2.6.36, drivers/lguest/hypercalls.c, arch/x86/lguest/boot.c',
} as const

const BAD_READ = 'killed: it lies outside the guest’s memory'
/** Bytes of LHCALL_SHUTDOWN's message. */
const MESSAGE = 128
const text = new TextDecoder('latin1')

/** Asked for again, after it was done: the first time is `initialize`. */
const again = ({ lg }: Parts): void => lg.kill('already have lguest_data')

function shutdown({ lg }: Parts, [, address, reason]: HcallArgs): void {
  const bytes = lg.read(address, MESSAGE)?.slice(0, MESSAGE - 1)
  const message = bytes ? text.decode(bytes).replace(/\0[^]*/, '') : ''
  if (lg.dead === undefined) lg.ending = 'poweroff'
  lg.kill(`CRASH: ${message}`)
  if (reason === Shutdown.RESTART) lg.ending = 'restart'
}

export const hypercalls: readonly Hypercall[] = [
  {
    ...common,
    number: LHCALL.FLUSH_ASYNC,
    name: 'LHCALL_FLUSH_ASYNC',
    summary: 'nothing but leaving the guest, so that the ring’s hypercalls are done',
  },
  {
    ...common,
    number: LHCALL.LGUEST_INIT,
    name: 'LHCALL_LGUEST_INIT',
    summary: 'where struct lguest_data is; the first hypercall, and only once',
    args: [gpa('data', Data.SIZE)],
    errors: {
      'bad guest page': 'killed: it lies outside the guest’s memory',
      'bad syscall vector': 'killed: it wants another one than 0x80',
      'bad kernel address': 'killed: its kernel would be where the switcher is',
      'already have lguest_data': 'killed: it has been done before',
    },
    ops: ['machine.detect'],
    run: again,
  },
  {
    ...common,
    number: LHCALL.SHUTDOWN,
    name: 'LHCALL_SHUTDOWN',
    summary: 'the end, with last words',
    args: [
      gpa('message', MESSAGE, 1),
      {
        name: 'reason',
        type: {
          kind: 'choice',
          values: { LGUEST_SHUTDOWN_POWEROFF: Shutdown.POWEROFF, LGUEST_SHUTDOWN_RESTART: Shutdown.RESTART },
        },
      },
    ],
    errors: { 'bad read address': `${BAD_READ}, but a restart is one all the same` },
    ops: ['machine.restart', 'machine.crash'],
    run: shutdown,
  },
  {
    ...common,
    number: LHCALL.NEW_PGTABLE,
    name: 'LHCALL_NEW_PGTABLE',
    summary: 'other page tables: CR3',
    args: [gpa('pgdir', 32, 32)],
    errors: { 'bad stack page': 'killed: the kernel’s stack is not mapped there, found when its shadow is a new one' },
    ops: ['mmu.write_cr3'],
    run: ({ shadows }, [, pgdir]) => shadows.load(pgdir),
  },
  {
    ...common,
    number: LHCALL.FLUSH_TLB,
    name: 'LHCALL_FLUSH_TLB',
    summary: 'forget the user’s translations, or everybody’s',
    args: [u32('all')],
    errors: { 'bad stack page': 'killed: the kernel’s stack is not mapped' },
    ops: ['mmu.flush_tlb_user', 'mmu.flush_tlb_kernel', 'mmu.set_pte'],
    run: ({ shadows }, [, all]) => (all ? shadows.clearAll() : shadows.flushUser()),
  },
  {
    ...common,
    number: LHCALL.LOAD_IDT_ENTRY,
    name: 'LHCALL_LOAD_IDT_ENTRY',
    summary: 'a gate; those for traps that are not the host’s first are taken by the processor itself',
    args: [u32('vector'), u32('low'), u32('high')],
    errors: {
      'Setting idt entry': 'killed: there are 256',
      'bad IDT type': 'killed: neither interrupt nor trap gate of 32 bits',
    },
    ops: ['cpu.load_idt', 'cpu.write_idt_entry'],
    run: ({ traps }, [, vector, low, high]) => traps.load(vector, low, high),
  },
  {
    ...common,
    number: LHCALL.SET_STACK,
    name: 'LHCALL_SET_STACK',
    summary: 'the stack on which user code enters the kernel, and how many pages of it must be mapped',
    args: [u32('ss'), linear('esp'), u32('pages')],
    errors: {
      'bad stack segment': 'killed: it is not of ring 1',
      'bad stack pages': 'killed: more than two pages',
      'bad stack page': 'killed: it is not mapped for writing',
      'attempt to access switcher pages': 'killed: it lies in the last 2 MiB',
    },
    ops: ['cpu.load_sp0'],
    run: ({ traps }, [, ss, esp, pages]) => traps.setStack(ss, esp, pages),
  },
  {
    ...common,
    number: LHCALL.TS,
    name: 'LHCALL_TS',
    summary: 'set (not 0) or clear CR0.TS',
    args: [u32('set')],
    ops: ['cpu.clts', 'cpu.write_cr0'],
    run: ({ lg }, [, set]) => void (lg.ts = set),
  },
  {
    ...common,
    number: LHCALL.SET_CLOCKEVENT,
    name: 'LHCALL_SET_CLOCKEVENT',
    summary: 'interrupt 0 in so many nanoseconds; 0: never',
    args: [u32('delta')],
    ops: ['time.set_next_event'],
    run: ({ lg }, [, delta]) => lg.setClockEvent(delta),
  },
  {
    ...common,
    number: LHCALL.HALT,
    name: 'LHCALL_HALT',
    summary: 'wait for an interrupt; they are on then',
    ops: ['irq.safe_halt'],
    run: ({ lg }) => void (lg.halted = true),
  },
  {
    ...common,
    number: LHCALL.SET_PMD,
    name: 'LHCALL_SET_PMD',
    summary: 'an entry of a middle table has changed: all shadows are made anew',
    args: [gpa('pmd', 4096, 4096), u32('index')],
    errors: { 'bad stack page': 'killed: the kernel’s stack is not mapped any more' },
    ops: ['mmu.set_pmd'],
    run: ({ shadows }) => shadows.clearAll(),
  },
  {
    ...common,
    number: LHCALL.SET_PTE,
    name: 'LHCALL_SET_PTE',
    summary: 'the entry of a page has changed in the table of some address space, or, for kernel addresses, in all',
    args: [gpa('pgdir', 32, 32), linear('address'), u32('low'), u32('high')],
    errors: {
      'bad page table entry':
        'killed: a large page, or a frame outside the guest’s memory, if it is marked accessed or dirty',
      'attempt to access switcher pages': 'killed: an address of the last 2 MiB',
    },
    ops: ['mmu.set_pte', 'mmu.flush_tlb_one_user'],
    run: ({ shadows }, [, pgdir, address, low, high]) =>
      shadows.setPte(pgdir, address, BigInt(low) | (BigInt(high) << 32n)),
  },
  {
    ...common,
    number: LHCALL.SET_PGD,
    name: 'LHCALL_SET_PGD',
    summary: 'a page-directory pointer has changed; one that does not exist, or the last, is passed over',
    args: [gpa('pgdir', 32, 32), u32('index')],
    ops: ['mmu.set_pud', 'mmu.set_pgd'],
    run: ({ shadows }, [, pgdir, index]) => shadows.setPgd(pgdir, index),
  },
  {
    ...common,
    number: LHCALL.LOAD_TLS,
    name: 'LHCALL_LOAD_TLS',
    summary: 'the three descriptors for thread-local storage',
    args: [gpa('descriptors', 24), u32('cpu')],
    errors: { 'bad read address': BAD_READ },
    ops: ['cpu.load_tls'],
    run: ({ segments }, [, descriptors]) => segments.loadTls(descriptors),
  },
  {
    ...common,
    number: LHCALL.NOTIFY,
    name: 'LHCALL_NOTIFY',
    summary:
      'to the Launcher, who serves it afterwards: a device’s status or queue, by its address, or text for the console',
    args: [gpa('address', 1, 1)],
    ops: ['machine.message'],
    run: ({ lg }, [, address]) => void (lg.pendingNotify = address),
  },
  {
    ...common,
    number: LHCALL.LOAD_GDT_ENTRY,
    name: 'LHCALL_LOAD_GDT_ENTRY',
    summary: 'a descriptor; the host’s four are passed over, ring 0 becomes ring 1',
    args: [u32('index'), u32('low'), u32('high')],
    errors: { 'too many gdt entries': 'killed: there are 32' },
    ops: ['cpu.load_gdt', 'cpu.write_gdt_entry'],
    run: ({ segments }, [, index, low, high]) => segments.load(index, low, high),
  },
  {
    ...common,
    number: LHCALL.SEND_INTERRUPTS,
    name: 'LHCALL_SEND_INTERRUPTS',
    summary: 'nothing but leaving the guest, so that pending interrupts come',
    ops: ['irq.irq_enable', 'irq.restore_fl'],
  },
]

export const hypercallByNumber = byNumber(hypercalls)
