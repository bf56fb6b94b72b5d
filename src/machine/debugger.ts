/**
 * What a debugger does to a machine: stop it, look at it, change it, go on by one instruction or until a breakpoint or
 * watchpoint. Breakpoints are at linear addresses, in whatever address space; an instruction that has one is not
 * executed before the machine goes on from it. Watchpoints are on the physical memory behind a linear address.
 */
import type { Core } from '../cpu/core.ts'
import { Exit, M, PageAttr, S } from '../cpu/layout.ts'
import { bytesAt, physicalAddress } from '../cpu/mapping.ts'
import type { Vcpus } from './vcpus.ts'

const PAGE = 4096
const CS_BASE = S.SEG_BASE + 8

export type WatchKind = 'write' | 'read' | 'access'

export interface Stop {
  readonly vcpu: number
  readonly reason: 'breakpoint' | WatchKind
  /** Linear address of the breakpoint or of the watchpoint. */
  readonly address: bigint
}

interface Watch {
  readonly kind: WatchKind
  readonly linear: bigint
  readonly physical: number
  readonly length: number
}

export class Debugger {
  readonly #core: Core
  readonly #vcpus: Vcpus
  readonly #breakpoints = new Map<bigint, number>()
  readonly #watches: Watch[] = []
  /** The vCPU whose next instruction is executed whatever is set there. */
  #skip = -1
  /** Called in the middle of a slice, which ends at the next instruction boundary. */
  onStop: ((stop: Stop) => void) | undefined

  constructor(core: Core, vcpus: Vcpus) {
    this.#core = core
    this.#vcpus = vcpus
  }

  get vcpus(): number {
    return this.#core.vcpus.length
  }

  /** The vCPU that ran last. */
  get current(): number {
    return this.#vcpus.last
  }

  state(vcpu: number): string {
    return this.#vcpus.state(vcpu)
  }

  get core(): Core {
    return this.#core
  }

  /** Linear address of the next instruction. */
  place(vcpu: number): bigint {
    const p = this.#core.vcpus[vcpu] as number
    const { u64 } = this.#core
    return BigInt.asUintN(64, (u64[(p + S.RIP) >> 3] as bigint) + (u64[(p + CS_BASE) >> 3] as bigint))
  }

  // Breakpoints

  /** May be set several times, and then has to be cleared as often. */
  setBreakpoint(linear: bigint): void {
    this.#breakpoints.set(linear, (this.#breakpoints.get(linear) ?? 0) + 1)
    this.#apply()
  }

  clearBreakpoint(linear: bigint): void {
    const count = (this.#breakpoints.get(linear) ?? 0) - 1
    if (count > 0) this.#breakpoints.set(linear, count)
    else this.#breakpoints.delete(linear)
    this.#apply()
  }

  #apply(): void {
    if (this.#breakpoints.size === 0) {
      this.#core.streams.breaks = undefined
      return
    }
    const offsets = new Uint8Array(PAGE)
    for (const linear of this.#breakpoints.keys()) offsets[Number(linear & 0xfffn)] = 1
    this.#core.streams.breaks = { offsets, hit: (p) => this.#hit(p) }
  }

  #hit(p: number): boolean {
    const vcpu = this.#core.vcpus.indexOf(p)
    const address = this.place(vcpu)
    const skipped = this.#skip === vcpu
    this.#skip = -1
    if (skipped || !this.#breakpoints.has(address)) return false
    this.#stop({ vcpu, reason: 'breakpoint', address })
    return true
  }

  #stop(stop: Stop): void {
    this.#core.stop(stop.vcpu, Exit.DEBUG)
    this.onStop?.(stop)
  }

  // Watchpoints

  /** False: nothing is mapped there, it crosses a page, or it is no RAM of the guest's. */
  setWatchpoint(kind: WatchKind, linear: bigint, length: number, vcpu: number): boolean {
    const at = physicalAddress(this.#core, this.#core.vcpus[vcpu] as number, linear)
    if (
      at === undefined ||
      length < 1 ||
      Number(at & 0xfffn) + length > PAGE ||
      at + BigInt(length) > this.#core.ramBytes
    )
      return false
    this.#core.absent.need(Number(at), length)
    const attribute = M.PAGE_ATTR + Number(at >> 12n)
    const now = this.#core.u8[attribute] as number
    if (now !== PageAttr.RAM && !this.#watches.some(({ physical }) => physical >>> 12 === Number(at >> 12n)))
      return false
    this.#watches.push({ kind, linear, physical: Number(at), length })
    this.#mark(Number(at >> 12n))
    return true
  }

  clearWatchpoint(kind: WatchKind, linear: bigint, length: number): boolean {
    const index = this.#watches.findIndex((w) => w.kind === kind && w.linear === linear && w.length === length)
    const [gone] = index < 0 ? [] : this.#watches.splice(index, 1)
    if (gone) this.#mark(gone.physical >>> 12)
    return gone !== undefined
  }

  #mark(page: number): void {
    const here = this.#watches.filter(({ physical }) => physical >>> 12 === page)
    const reads = here.some(({ kind }) => kind !== 'write') ? PageAttr.READS : 0
    this.#core.u8[M.PAGE_ATTR + page] = here.length === 0 ? PageAttr.RAM : PageAttr.WATCHED | reads
    for (const p of this.#core.vcpus) this.#core.system.flushAll(p)
  }

  /** A page that is watched is about to be accessed: from `CoreHost`. */
  accessed(vcpu: number, physical: number, size: number, write: boolean): void {
    for (const { kind, linear, physical: at, length } of this.#watches)
      if (kind !== (write ? 'read' : 'write') && physical < at + length && at < physical + size)
        return this.#stop({ vcpu, reason: kind, address: linear })
  }

  // Going on

  /** One instruction of a vCPU; the machine must be at rest. */
  step(vcpu: number): void {
    this.#skip = vcpu
    this.#vcpus.step(vcpu)
    this.#skip = -1
  }

  /** Before the machine goes on: a vCPU that stands at a breakpoint does not stop there again. */
  leave(): void {
    for (let vcpu = 0; vcpu < this.vcpus; vcpu++)
      if (this.#breakpoints.has(this.place(vcpu)) && this.#vcpus.state(vcpu) === 'running') this.step(vcpu)
  }

  /** Nobody debugs any more. */
  detach(): void {
    this.#breakpoints.clear()
    this.#apply()
    for (let watch = this.#watches[0]; watch; watch = this.#watches[0])
      this.clearWatchpoint(watch.kind, watch.linear, watch.length)
    this.onStop = undefined
  }

  // Memory

  /** As many of the bytes as are mapped to RAM. */
  read(vcpu: number, linear: bigint, length: number): Uint8Array {
    return bytesAt(this.#core, this.#core.vcpus[vcpu] as number, linear, length)
  }

  /** False if not all of it is mapped to RAM; rights do not matter. */
  write(vcpu: number, linear: bigint, bytes: Uint8Array): boolean {
    const p = this.#core.vcpus[vcpu] as number
    const places: bigint[] = []
    for (let i = 0; i < bytes.length; i++) {
      const at = physicalAddress(this.#core, p, linear + BigInt(i))
      if (at === undefined || at >= BigInt(this.#core.ramBytes)) return false
      places.push(at)
    }
    for (const [i, at] of places.entries()) this.#core.writeRam(Number(at), bytes.subarray(i, i + 1))
    return true
  }

  translate(vcpu: number, linear: bigint): bigint | undefined {
    return physicalAddress(this.#core, this.#core.vcpus[vcpu] as number, linear)
  }
}
