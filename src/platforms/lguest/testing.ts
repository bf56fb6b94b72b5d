/** For tests: a guest of lguest's without a processor. It has 1 MiB, mapped at 0 and at 3 GiB, and its data at DATA. */
import type { Kernel } from '../../boot/entries.ts'
import { cpuModel } from '../../cpu/models.ts'
import type { Devices } from '../../paravirt/devices.ts'
import { Mock } from '../../paravirt/mock.ts'
import { type Event, Observer, type RingWatch } from '../../paravirt/observe.ts'
import { chosenFeatures } from '../../paravirt/platform.ts'
import { Data, LHCALL, Reg, type RegOffset, REGS_BYTES, RING, RING_FREE, TRAP_ENTRY } from './abi.ts'
import { frameMap, PAGE } from './frames.ts'
import { lguest, LguestPlatform } from './index.ts'
import { REGS } from './switcher.ts'

export const PAGES = 256
export const MEMORY = PAGES * PAGE
export const KERNEL = 0xc0000000
export const ENTRY = 0x10000
export const DATA = 0x20000
/** Kernel stack: two pages that end here. */
export const STACK = KERNEL + 0x32000
/** Where the guest begins with its page tables, from the end of its memory: top, page tables, middle. */
export const PGDIR = MEMORY - PAGE
export const PTES = MEMORY - 2 * PAGE
export const PMDS = MEMORY - 3 * PAGE
const POOL = 64

export interface TestOptions {
  readonly features?: readonly string[]
  readonly devices?: Devices
  readonly listen?: (event: Event) => void
  /** Errors with which requests of devices are answered. */
  readonly refusal?: RingWatch['refusal'] | undefined
  /** Frames for shadow tables. */
  readonly pool?: number
  /** Of a guest that is no longer needed, with as many frames. */
  readonly ram?: Uint8Array | undefined
}

export class TestGuest {
  readonly mock: Mock
  readonly platform: LguestPlatform
  readonly events: Event[] = []
  readonly map = frameMap(PAGES)
  readonly view: DataView

  constructor({ features = [], devices, listen, refusal, pool = POOL, ram }: TestOptions = {}) {
    this.mock = new Mock({ pages: PAGES, frames: this.map.pool - PAGES + pool, ram })
    this.view = new DataView(this.mock.ram.buffer)
    const { effects } = this.mock
    const observer = new Observer(() => effects.time.now(), refusal)
    observer.listen(listen ?? ((event) => this.events.push(event)))
    const on = chosenFeatures(lguest, features)
    this.platform = new LguestPlatform({ effects, model: cpuModel('inorder'), features: on, observer, devices })
    this.platform.build({ kernel: testKernel, cmdline: 'x=1', memory: MEMORY })
    this.mock.vcpus[0].registers.set('rsp', BigInt(REGS))
    this.setReg(Reg.CS, 0x61)
    this.setReg(Reg.SS, 0x69)
    this.setReg(Reg.EFLAGS, 0x202)
    this.setReg(Reg.EIP, ENTRY)
    this.setReg(Reg.ESP, STACK)
    this.root = this.mock.vcpus[0].entered?.cr3 ?? 0
    this.mock.log.length = 0
  }

  reg(offset: RegOffset): number {
    return this.view.getUint32(this.#regs + offset, true)
  }

  setReg(offset: RegOffset, value: number): void {
    this.view.setUint32(this.#regs + offset, value >>> 0, true)
  }

  get #regs(): number {
    return (this.map.regs + 1) * PAGE - REGS_BYTES
  }

  /** As the switcher comes to the host. */
  trap(vector: number, error = 0): 'go' | 'again' {
    this.setReg(Reg.TRAPNUM, vector)
    this.setReg(Reg.ERRCODE, error)
    return this.enter()
  }

  /** VMCALL, executed once more if the host slept. */
  enter(): 'go' | 'again' {
    if (this.platform.hypercall(0, 'vmcall') === 'again') return 'again'
    this.root = this.reload || this.root
    return 'go'
  }

  /** A page fault. */
  fault(address: number, error: number): 'go' | 'again' {
    this.mock.vcpus[0].cr2 = address
    return this.trap(14, error)
  }

  call(number: number, ...args: readonly number[]): 'go' | 'again' {
    const registers = [Reg.EAX, Reg.EBX, Reg.ECX, Reg.EDX, Reg.ESI] as const
    for (const [i, register] of registers.entries()) this.setReg(register, [number, ...args][i] ?? 0)
    return this.trap(TRAP_ENTRY)
  }

  field(offset: number): number {
    return this.view.getUint32(DATA + offset, true)
  }

  setField(offset: number, value: number): void {
    this.view.setUint32(DATA + offset, value >>> 0, true)
  }

  /** What Linux has in its data from the start. */
  prepareData(): void {
    this.mock.ram.fill(RING_FREE, DATA + Data.HCALL_STATUS, DATA + Data.HCALL_STATUS + RING)
    this.setField(Data.BLOCKED_INTERRUPTS, 1)
    this.setField(Data.KERNEL_ADDRESS, KERNEL)
    this.setField(Data.SYSCALL_VEC, 0x80)
    this.setField(Data.NOIRQ_START, KERNEL + 0x1000)
    this.setField(Data.NOIRQ_END, KERNEL + 0x1010)
  }

  /** A guest that has done LGUEST_INIT. */
  static ready(options?: TestOptions): TestGuest {
    const guest = new TestGuest(options)
    guest.prepareData()
    guest.call(LHCALL.LGUEST_INIT, DATA)
    guest.mock.log.length = 0
    return guest
  }

  /** Put a hypercall into slot `slot` of the ring. */
  queue(slot: number, ...words: readonly number[]): void {
    for (let i = 0; i < 5; i++) this.setField(Data.HCALLS + 20 * slot + 4 * i, words[i] ?? 0)
    this.view.setUint8(DATA + Data.HCALL_STATUS + slot, 0)
  }

  /** The entry of the shadow in use for an address; undefined: there is none. */
  shadow(address: number): bigint | undefined {
    const entry = (table: bigint, index: number) =>
      this.view.getBigUint64(Number(table & 0xfffff000n) + 8 * index, true)
    const pgd = entry(BigInt(this.root), address >>> 30)
    if (!(pgd & 1n)) return undefined
    const pmd = entry(pgd, (address >>> 21) & 511)
    return pmd & 1n ? entry(pmd, (address >>> 12) & 511) : undefined
  }

  /** CR3 as it was loaded last. */
  root: number

  /** What the host leaves in EAX for the switcher: 0, or CR3. */
  get reload(): number {
    return this.mock.effects.cpu.low(0, 'rax')
  }
}

/** Sixteen bytes at ENTRY. */
const testKernel: Kernel = {
  name: 'test',
  version: 'unknown',
  bits: 32,
  compression: undefined,
  elf: {
    bits: 32,
    segments: [{ address: ENTRY, bytes: new Uint8Array(16), size: 16 }],
    entry: ENTRY,
    pvh: undefined,
    notes: [],
    headerEntry: BigInt(ENTRY),
  },
  image: undefined,
  entries: { 32: ENTRY },
}
