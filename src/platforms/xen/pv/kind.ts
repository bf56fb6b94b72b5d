/**
 * PV: kernel and user at CPL 3 (32 bits: kernel at CPL 1), page tables of the guest's own, upcalls as frames on its stack.
 */
import { BootError } from '../../../boot/error.ts'
import type { BuildOptions } from '../../../paravirt/platform.ts'
import type { Transfer } from '../../../snapshot/stateful.ts'
import { buildPv } from '../builder/build.ts'
import { pvImage } from '../builder/image.ts'
import { clearEvents, restoreStartInfo } from '../builder/restore.ts'
import type { Domain } from '../domain.ts'
import { Errno } from '../errno.ts'
import { Assist } from '../hypercalls/vm-assist.ts'
import type { SharedPage } from '../frames.ts'
import type { Kind, Rings } from '../kind.ts'
import { createMm } from '../mm/create.ts'
import { Type } from '../mm/frame-table.ts'
import { PvGrants } from '../mm/grants.ts'
import type { Mm } from '../mm/mm.ts'
import { getPageAndType, putPageAndType } from '../mm/types.ts'
import { isGuestHigh, isNarrowGuest } from './addresses.ts'
import { CONTEXT_BYTES, pvContext, type PvVcpuContext } from './context.ts'
import { NARROW_CONTEXT_BYTES, pvContext32 } from './context32.ts'

const PAGE = 4096
/** The period of VIRQ_TIMER until the guest asks for another one. */
const TICK = 10_000_000
/** shared_info.arch.max_pfn. */
const MAX_PFN = { wide: 0xc10, narrow: 0x90c } as const
/** Selectors with which the first vCPU begins. */
const first = {
  wide: { cs: 0xe033, ss: 0xe02b, data: 0 },
  narrow: { cs: 0xe019, ss: 0xe021, data: 0xe021 },
} as const
/** RFLAGS with IF. */
const FLAGS = 0x202
/** e820. */
const RAM = 1

export class PvKind implements Kind {
  readonly name = 'pv'
  readonly mm: Mm
  readonly grants: PvGrants
  readonly #domain: Domain
  readonly #gdts: (readonly number[])[]
  /** vcpu_guest_context with which a vCPU that is initialised will begin. */
  readonly #contexts: (Uint8Array | undefined)[]
  readonly #started: boolean[]
  /** By VGCF_online: Xen takes it for up, but does not wake it. */
  readonly #asleep: boolean[]
  readonly narrow: boolean
  #eoiPage: number | undefined

  constructor(domain: Domain, narrow = false) {
    this.#domain = domain
    this.narrow = narrow
    domain.wideInfo = !narrow
    this.#gdts = domain.vcpus.map(() => [])
    this.#contexts = domain.vcpus.map(() => undefined)
    this.#started = domain.vcpus.map(() => false)
    this.#asleep = domain.vcpus.map(() => false)
    const { effects } = domain
    this.mm = createMm({ effects, xen: domain.frames, guest: domain.guest, narrow })
    this.grants = new PvGrants(this.mm)
    domain.frames.onShare((frame) => this.mm.frames.share(frame, true))
    for (const { id, info, timers } of domain.vcpus) {
      this.movedInfo(id, info)
      timers.begin(TICK)
    }
  }

  transfer(state: Transfer): void {
    state.part('mm', this.mm)
    state.list('gdts', this.#gdts)
    state.list('contexts', this.#contexts)
    state.list('started', this.#started)
    state.list('asleep', this.#asleep)
    this.#eoiPage = state.field('eoiPage', this.#eoiPage)
  }

  /** The processor looks for itself into each vCPU's vcpu_info. */
  *needs(): Generator<number> {
    const { frames, vcpus } = this.#domain
    yield* this.mm.frames.needs(frames.lowest)
    for (const { info } of vcpus) yield Math.floor(info / PAGE)
  }

  frame(mfn: number): number {
    return this.mm.frames.isOwn(mfn) ? mfn : -1
  }

  hold(mfn: number, writable = true): number {
    const { frames } = this.mm
    return (writable ? getPageAndType(frames, mfn, Type.WRITABLE) === 0 : frames.get(mfn)) ? mfn : -1
  }

  release(frame: number, writable = true): void {
    if (writable) putPageAndType(this.mm.frames, frame)
    else this.mm.frames.put(frame)
  }

  withdraw(pages: readonly SharedPage[]): boolean {
    const { frames } = this.mm
    if (pages.some(({ home }) => frames.refs[home] !== 1)) return false
    for (const { home } of pages) frames.unshare(home)
    return true
  }

  numberOf(page: SharedPage): number {
    return page.frame
  }

  mayAccess(low: number, high: number): boolean {
    return this.narrow ? isNarrowGuest(low) : isGuestHigh(high)
  }

  upcall(vcpu: number): void {
    this.#domain.effects.pv.kick(vcpu)
  }

  eventWaits(vcpu: number): boolean {
    const { pending, masked } = this.#domain.vcpus[vcpu]
    return pending && !masked
  }

  nmi(vcpu: number): void {
    this.#domain.effects.pv.nmi(vcpu)
  }

  block(vcpu: number): void {
    const end = this.#domain.vcpus[vcpu]
    end.masked = false
    if (!end.pending) this.#domain.effects.lock.block(vcpu)
  }

  /** A vCPU's new GDT, 0 or a negative error. */
  setGdt(vcpu: number, frames: readonly number[], entries: number): number {
    const answer = this.mm.holdDescriptors(frames, this.#gdts[vcpu])
    if (answer < 0) return answer
    this.#gdts[vcpu] = frames
    this.#domain.effects.pv.setGdt(vcpu, frames, entries)
    return 0
  }

  get pages(): number {
    return this.mm.frames.pages
  }

  /** What the guest says in shared_info. */
  get maximumGpfn(): number {
    const { effects, sharedInfo } = this.#domain
    const offset = MAX_PFN[this.narrow ? 'narrow' : 'wide']
    return Math.max(effects.memory.view.getUint32(sharedInfo.address + offset, true), 1) - 1
  }

  /** PV has its own commands of memory_op. */
  changeExtent(): boolean {
    return false
  }

  /** PHYSDEVOP_pirq_eoi_gmfn: there are no physical interrupts, so it stays as it is. */
  setEoiPage(mfn: number): number {
    const frame = this.hold(mfn)
    if (frame < 0) return Errno.EINVAL
    if (this.#eoiPage !== undefined) {
      this.release(frame)
      return Errno.EBUSY
    }
    this.#eoiPage = frame
    return 0
  }

  initialise(vcpu: number, low: number, high: number, caller: number): number {
    const bytes = new Uint8Array(this.narrow ? NARROW_CONTEXT_BYTES : CONTEXT_BYTES)
    if (!this.#domain.guest.copyIn(caller, low, high, bytes, bytes.length)) return Errno.EFAULT
    if (this.initialised(vcpu)) return Errno.EEXIST
    const context = this.#parse(bytes)
    if (!context) return Errno.EINVAL
    const { gdt, roots } = context
    const answer = this.setGdt(vcpu, gdt.frames, gdt.entries)
    if (answer < 0) return answer
    const { mm } = this
    const { kernel, user } = roots
    // Frame 0 is no guest's.
    const setKernel = () => (kernel === 0 ? Errno.EINVAL : mm.setKernelRoot(vcpu, kernel))
    const setUser = () => (user === undefined ? 0 : user === 0 ? Errno.EINVAL : mm.setUserRoot(vcpu, user))
    for (const set of [setKernel, setUser]) {
      const failed = set()
      if (failed >= 0) continue
      this.setGdt(vcpu, [], 0)
      return failed
    }
    this.#setState(vcpu, context)
    this.#contexts[vcpu] = bytes
    this.#asleep[vcpu] = context.online
    return 0
  }

  asleep(vcpu: number): boolean {
    return this.#asleep[vcpu] as boolean
  }

  #parse(bytes: Uint8Array): PvVcpuContext | undefined {
    return this.narrow ? pvContext32(bytes) : pvContext(bytes)
  }

  initialised(vcpu: number): boolean {
    return this.#contexts[vcpu] !== undefined || (this.#started[vcpu] as boolean)
  }

  /** What of a vCPU's state does not wait for its first instruction. */
  #setState(vcpu: number, context: PvVcpuContext): void {
    const { pv } = this.#domain.effects
    pv.setWord(vcpu, 'flags', context.flags)
    pv.setWord(vcpu, 'kernel', Number(context.kernel))
    pv.setWord(vcpu, 'iopl', context.iopl)
    pv.setWord(vcpu, 'kernelSs', context.kernelSs)
    pv.setWide(vcpu, 'kernelSp', context.kernelSp)
    pv.setWide(vcpu, 'event', context.event)
    pv.setWide(vcpu, 'failsafe', context.failsafe)
    pv.setWide(vcpu, 'syscall', context.syscall)
    if (context.selectors) {
      pv.setWord(vcpu, 'eventCs', context.selectors.event)
      pv.setWord(vcpu, 'failsafeCs', context.selectors.failsafe)
    }
    for (const [vector, trap] of context.traps.entries()) pv.setTrap(vcpu, vector, trap)
  }

  up(vcpu: number): void {
    const { pv } = this.#domain.effects
    const bytes = this.#contexts[vcpu]
    const context = bytes && this.#parse(bytes)
    if (!context) return this.#domain.effects.cpu.unpark(vcpu)
    this.#contexts[vcpu] = undefined
    this.#started[vcpu] = true
    const { low, high } = { low: Number(context.ldt.base & 0xffffffffn), high: Number(context.ldt.base >> 32n) }
    pv.begin(vcpu, context.context)
    this.mm.setLdt(vcpu, low, high, context.ldt.entries)
    for (const [index, value] of context.debug.entries())
      if (index < 4 || index > 5) pv.setDebugRegister(vcpu, index, value)
  }

  down(vcpu: number): void {
    if (this.#asleep[vcpu]) this.#asleep[vcpu] = false
    else this.#domain.effects.cpu.park(vcpu)
  }

  movedInfo(vcpu: number, address: number): void {
    this.#domain.effects.pv.setWord(vcpu, 'info', address)
  }

  assisted(assists: ReadonlySet<number>): void {
    this.mm.frames.strictM2p = assists.has(Assist.m2p_strict)
    const mask = [...assists].reduce((sum, type) => (type < 32 ? sum | (1 << type) : sum), 0)
    for (const { id } of this.#domain.vcpus) this.#domain.effects.pv.setWord(id, 'assist', mask)
  }

  restore(startInfo: number, ports: { store: number; console: number }): Rings | undefined {
    const { effects, sharedInfo } = this.#domain
    if (this.#eoiPage !== undefined) this.release(this.#eoiPage)
    this.#eoiPage = undefined
    clearEvents(effects.memory, sharedInfo.address, this.narrow)
    // Its vCPUs are new ones.
    for (const { timers } of this.#domain.vcpus) timers.begin(TICK)
    if (this.frame(startInfo) < 0) return undefined
    return restoreStartInfo(effects.memory, startInfo * PAGE, {
      pages: this.maximumGpfn + 1,
      sharedInfo: sharedInfo.address,
      ports,
      narrow: this.narrow,
      frameOf: (pfn) => this.mm.frames.frameOf(pfn),
    })
  }

  build({ kernel, initrd, cmdline, memory }: BuildOptions): void {
    const domain = this.#domain
    const { effects } = domain
    const { pv } = effects
    if (!kernel.elf) throw new BootError(`${kernel.name}: no ELF kernel`)
    const ports = { store: domain.events.offer(), console: domain.events.offer() }
    const built = buildPv(effects.memory, this.mm, {
      image: pvImage(kernel, this.narrow ? 32 : 64),
      initrd,
      cmdline,
      pages: memory / PAGE,
      sharedInfo: domain.sharedInfo.frame,
      ports,
    })
    const { store, console } = ports
    domain.memoryMap = [{ address: 0n, size: BigInt(memory), type: RAM }]
    domain.time.start()
    for (const vcpu of domain.vcpus) vcpu.masked = true
    domain.serve({
      store: { frame: built.store, port: store },
      console: { frame: built.console, port: console },
    })
    this.mm.setKernelRoot(0, built.root)
    pv.setWord(0, 'kernel', 1)
    const { cs, ss, data } = first[this.narrow ? 'narrow' : 'wide']
    pv.setWord(0, 'kernelSs', ss)
    pv.setWide(0, 'kernelSp', built.stack)
    this.#started[0] = true
    const registers = Array.from({ length: 16 }, () => 0n)
    registers[4] = built.stack
    registers[6] = built.startInfo
    pv.begin(0, {
      registers,
      rip: built.entry,
      rflags: FLAGS,
      cs,
      ss,
      ds: data,
      es: data,
      fs: data,
      gs: data,
      fsBase: 0n,
      gsBaseKernel: 0n,
      gsBaseUser: 0n,
      taskSwitched: false,
      cr4: 0n,
      fpu: undefined,
      narrow: this.narrow,
    })
  }
}
