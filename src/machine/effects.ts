/** The effects for real: over the core, the PC and the vCPUs' turns. */
import { CRYSTAL_HZ, TSC_HZ } from '../cpu/models.ts'
import type { Core } from '../cpu/core.ts'
import { Mode, PageAttr, M, S } from '../cpu/layout.ts'
import type { ConsolePort, Effects, FrameKind, Register } from '../paravirt/effects.ts'
import { registers } from '../paravirt/effects.ts'
import type { Census } from './census.ts'
import { enter } from './entry.ts'
import type { Stateful } from '../snapshot/stateful.ts'
import { pvEffects } from './pv-effects.ts'
import { readXapic, writeXapic } from '../devices/lapic/registers.ts'
import type { Clock } from './clock.ts'
import type { Interrupts } from './interrupts.ts'
import type { Vcpus } from './vcpus.ts'

export interface EffectsParts {
  core: Core
  clock: Clock
  interrupts: Interrupts
  vcpus: Vcpus
}

export interface EffectsOptions {
  /** The parts, once they exist. */
  readonly parts: () => EffectsParts
  /** Who counts what is done to shared memory. */
  readonly census: Census | undefined
  readonly cpus: number
  readonly consoles: readonly ConsolePort[]
  /** Bytes of RAM, and frames with those of the platform's own. */
  readonly memory: number
  readonly frames: number
  /** CPUID 1 EAX. */
  readonly signature: number
  /** Unix time at power-on, in milliseconds. */
  readonly epoch: number
  /** Random 32-bit words, the same ones as RDRAND's. */
  readonly random: () => number
  readonly onReset: () => void
  readonly onPowerOff: () => void
  readonly onCrash: (reason: string) => void
  readonly onReport: (lines: readonly string[]) => void
  readonly onWake: () => void
}

const CR0_PE = 1n
const CS = 1
const SS = 2
const FLAG_IF = 0x200
const PAGE = 4096
const PAGE_MASK = 4095n

const attributes = { ram: PageAttr.RAM, rom: PageAttr.ROM, none: PageAttr.MMIO } as const satisfies Record<
  FrameKind,
  number
>

export function machineEffects(options: EffectsOptions): Effects & Stateful {
  const { parts, census, cpus, memory, frames, epoch } = options
  const state = (vcpu: number) => parts().core.vcpus[vcpu] as number
  const word = (vcpu: number, offset: number) => parts().core.i32[(state(vcpu) + offset) >> 2] as number
  const wide = (vcpu: number, offset: number) => parts().core.u64[(state(vcpu) + offset) >> 3] as bigint
  const slot = (name: Register) => S.RAX + 8 * registers.indexOf(name)
  const kind = (frame: number): FrameKind => {
    const attribute = parts().core.u8[M.PAGE_ATTR + frame] & ~PageAttr.ABSENT
    if (attribute === PageAttr.MMIO) return 'none'
    return attribute === PageAttr.RAM || attribute & PageAttr.WATCHED ? 'ram' : 'rom'
  }
  const inRam = (address: bigint, length: number) => {
    if (address < 0n || length < 0 || address + BigInt(length) > BigInt(frames) * BigInt(PAGE)) return false
    const first = Number(address >> 12n)
    const last = Number((address + BigInt(Math.max(length, 1) - 1)) >> 12n)
    for (let frame = first; frame <= last; frame++) if (kind(frame) === 'none') return false
    return true
  }
  const general: (Uint32Array | undefined)[] = []
  let view: DataView | undefined
  let words: Int32Array | undefined
  let cached: Core | undefined
  const physical = () => (view ??= new DataView(parts().core.memory.buffer, M.RAM, frames * PAGE))
  const present = (address: number, length: number) => {
    parts().core.absent.need(address, length)
    return physical()
  }
  const changing = (address: number, length: number) => {
    parts().core.changing(address, length)
    return physical()
  }
  const covered = new Map<number, Uint8Array>()
  const sealed = (address: bigint, length: number) => {
    if (covered.size === 0 || length === 0) return false
    const last = Number((address + BigInt(length) - 1n) >> 12n)
    for (let page = Number(address >> 12n); page <= last; page++) if (covered.has(page)) return true
    return false
  }
  return {
    transfer: (saved) => saved.map('covered', covered),
    cpu: {
      count: cpus,
      enter: (vcpu, entry) => {
        const { core, vcpus } = parts()
        core.system.initVcpu(state(vcpu), options.signature)
        enter(core, vcpu, entry)
        vcpus.start(vcpu)
      },
      park: (vcpu) => parts().vcpus.park(vcpu),
      unpark: (vcpu) => parts().vcpus.unpark(vcpu),
      interruptFlag: (vcpu) => (word(vcpu, S.SYSFLAGS) & FLAG_IF) !== 0,
      setInterruptFlag: (vcpu) => {
        const { core } = parts()
        core.i32[(state(vcpu) + S.SYSFLAGS) >> 2] |= FLAG_IF
        core.kick(vcpu)
      },
      running: (vcpu) => parts().vcpus.running(vcpu),
      waits: (vcpu) => parts().vcpus.waits(vcpu),
      register: (vcpu, name) => wide(vcpu, slot(name)),
      setRegister: (vcpu, name, value) => {
        parts().core.u64[(state(vcpu) + slot(name)) >> 3] = BigInt.asUintN(64, value)
      },
      setNumber: (vcpu, name, value, long) => {
        const { i32 } = parts().core
        const at = (state(vcpu) + slot(name)) >> 2
        i32[at] = value
        i32[at + 1] = long ? Math.floor(value / 2 ** 32) : 0
      },
      general: (vcpu) => (general[vcpu] ??= new Uint32Array(parts().core.memory.buffer, state(vcpu) + S.RAX, 32)),
      low: (vcpu, name) => word(vcpu, slot(name)) >>> 0,
      iret: (vcpu, rip, rsp, done) => {
        const { core } = parts()
        core.atBoundary(vcpu, () => {
          const p = state(vcpu)
          const selector = (index: number) => word(vcpu, S.SEG_SELECTOR + 4 * index)
          core.u64[(p + S.RIP) >> 3] = rip
          core.u64[(p + S.RSP) >> 3] = rsp
          if (core.system.iret(p, 4) === 0) done(selector(CS), selector(SS))
        })
      },
      cr2: (vcpu) => word(vcpu, S.CR2) >>> 0,
      xmm: (vcpu, index) => {
        const at = state(vcpu) + S.VEC0 + 16 * index
        return parts().core.u8.slice(at, at + 16)
      },
      privilege: (vcpu) => word(vcpu, S.CPL),
      protectedMode: (vcpu) => (wide(vcpu, S.CR0) & CR0_PE) !== 0n,
      wide: (vcpu) => (word(vcpu, S.MODE) & Mode.LONG) !== 0,
    },
    memory: {
      pages: memory / PAGE,
      read: (address, length) => (inRam(address, length) ? parts().core.ram(Number(address), length) : undefined),
      write: (address, bytes) => {
        if (!inRam(address, bytes.length) || sealed(address, bytes.length)) return false
        parts().core.writeRam(Number(address), bytes)
        return true
      },
      load: (vcpu, linear, length) => {
        const { core } = parts()
        const bytes = new Uint8Array(length)
        for (let i = 0; i < length; i++) {
          bytes[i] = Number(core.system.slowLoad(state(vcpu), BigInt.asUintN(64, linear + BigInt(i)), 1))
          if (word(vcpu, S.EXC) >= 0) return undefined
        }
        return bytes
      },
      probe: (vcpu, linear, length) => {
        const last = linear + BigInt(length - 1)
        for (let at = linear; at <= last; at = (at | PAGE_MASK) + 1n) {
          parts().core.system.probeWrite(state(vcpu), BigInt.asUintN(64, at), 1)
          if (word(vcpu, S.EXC) >= 0) return false
        }
        return true
      },
      store: (vcpu, linear, bytes) => {
        for (const [i, byte] of bytes.entries())
          parts().core.system.slowStore(state(vcpu), BigInt.asUintN(64, linear + BigInt(i)), 1, BigInt(byte))
      },
      frames,
      view: {
        getUint8: (at) => present(at, 1).getUint8(at),
        getUint16: (at, little) => present(at, 2).getUint16(at, little),
        getUint32: (at, little) => present(at, 4).getUint32(at, little),
      },
      bytes: (address, length) => parts().core.ram(address, length),
      store8: (address, value) => changing(address, 1).setUint8(address, value),
      store16: (address, value) => changing(address, 2).setUint16(address, value, true),
      store32: (address, value) => changing(address, 4).setUint32(address, value, true),
      store64: (address, value) => changing(address, 8).setBigUint64(address, value, true),
      get words() {
        return (words ??= new Int32Array(parts().core.memory.buffer, M.RAM, (frames * PAGE) / 4))
      },
      storePair: (index, low, high) => {
        const core = (cached ??= parts().core)
        const marks = (M.CODE_MARKS >> 2) + 2 * (index >>> 10)
        if ((core.i32[marks] as number) | (core.i32[marks + 1] as number)) core.changing(index * 4, 8)
        const at = (M.RAM >> 2) + index
        core.i32[at] = low
        core.i32[at + 1] = high
      },
      place: (address, bytes) => parts().core.writeRam(address, bytes),
      kind,
      setKind: (frame, to) => {
        const { core } = parts()
        if (kind(frame) === to) return
        // What was decoded from there is no more.
        core.changing(frame * PAGE, PAGE)
        core.u8[M.PAGE_ATTR + frame] = attributes[to]
        for (const p of core.vcpus) core.system.flushAll(p)
      },
      translate: (vcpu, low, high, write) => {
        const address = parts().core.system.physicalOf(state(vcpu), low, high, write ? 1 : 0)
        return address === -1 ? -1 : address >>> 0
      },
      overlay: (page, bytes) => {
        const { core } = parts()
        const under = covered.get(page)
        if (bytes && !under) covered.set(page, core.ram(page * PAGE, PAGE).slice())
        if (!bytes && !under) return
        core.writeRam(page * PAGE, bytes ?? (under as Uint8Array))
        core.u8[M.PAGE_ATTR + page] = bytes ? PageAttr.SEALED : PageAttr.RAM
        if (!bytes) covered.delete(page)
        // Translations say whether a page can be written.
        for (const p of core.vcpus) core.system.flushAll(p)
      },
      share: (byte, vcpu, address) => census?.share(byte, vcpu, address),
    },
    irq: {
      line: (vcpu, line) => parts().interrupts.setLine(vcpu, line),
      pull: (vcpu) => parts().vcpus.pull(vcpu),
      waits: (vcpu) => word(vcpu, S.IRQ_PENDING) !== 0 && (word(vcpu, S.SYSFLAGS) & FLAG_IF) !== 0,
      post: (vcpu, vector, autoEoi = false) => parts().interrupts.lapics[vcpu].post(vector, autoEoi),
      message: (vcpu, icr) => {
        const lapic = parts().interrupts.lapics[vcpu]
        const mode = (icr >> 8) & 7
        if (!lapic.accepts(mode)) return false
        lapic.deliver(mode, icr & 0xff, (icr & ICR_LEVEL_TRIGGERED) !== 0)
        return true
      },
      enabled: (vcpu) => parts().interrupts.lapics[vcpu].accepts(FIXED),
      level: (gsi, up) => parts().interrupts.setLevel(gsi, up),
      sample: () => parts().interrupts.sampleLevels(),
      isa: (irq) => parts().interrupts.pulseIsaIrq(irq),
      apic: (vcpu, offset) => readXapic(parts().interrupts.lapics[vcpu], offset, 4),
      setApic: (vcpu, offset, value) => writeXapic(parts().interrupts.lapics[vcpu], offset, 4, value),
      nmi: (vcpu) => parts().interrupts.lapics[vcpu].deliver(NMI, 0, false),
      assist: (vcpu, assist) => parts().interrupts.lapics[vcpu].setAssist(assist),
      eoi: (vcpu) => parts().interrupts.lapics[vcpu].endOfInterrupt(),
      onEnabled: (vcpu, listener) => {
        parts().interrupts.lapics[vcpu].onEnabled = listener
      },
      onEoi: (vcpu, listener) => {
        parts().interrupts.lapics[vcpu].onEoi = listener
      },
      tpr: (vcpu) => parts().interrupts.lapics[vcpu].tpr,
      setTpr: (vcpu, value) => parts().interrupts.lapics[vcpu].writeTpr(value),
      icr: (vcpu) => {
        const { icrHigh, icrLow } = parts().interrupts.lapics[vcpu]
        return (BigInt(icrHigh >>> 0) << 32n) | BigInt(icrLow >>> 0)
      },
      setIcr: (vcpu, value) => {
        const lapic = parts().interrupts.lapics[vcpu]
        lapic.icrHigh = Number(value >> 32n)
        lapic.icrLow = Number(value & 0xffffffffn) | 0
        lapic.send(lapic.icrLow, lapic.x2apic ? lapic.icrHigh : lapic.icrHigh >>> 24)
      },
    },
    mmu: {
      root: (vcpu) => wide(vcpu, S.CR3),
      flush: (vcpu, addresses) => {
        const { system } = parts().core
        if (!addresses) return system.flushAll(state(vcpu))
        for (const address of addresses) system.flushPage(state(vcpu), address)
      },
    },
    time: {
      now: () => parts().clock.now(),
      wallClock: () => BigInt(epoch) * 1_000_000n + BigInt(parts().clock.now()),
      tscHz: TSC_HZ,
      tscOffset: (vcpu) => BigInt.asIntN(64, wide(vcpu, S.TSC_OFFSET)),
      apicHz: CRYSTAL_HZ,
      stolen: (vcpu) => parts().vcpus.stolen(vcpu),
      deadline: (callback) => {
        const { clock } = parts()
        const timer = clock.schedule(Infinity, callback)
        return { set: (at) => clock.reschedule(timer, at) }
      },
    },
    lock: {
      wake: (vcpu) => parts().vcpus.wake(vcpu),
      yieldTo: (to) => parts().vcpus.yieldTo(to),
      block: (vcpu) => parts().vcpus.block(vcpu),
    },
    machine: {
      reset: options.onReset,
      powerOff: options.onPowerOff,
      crash: options.onCrash,
      random: options.random,
      report: options.onReport,
      wake: options.onWake,
    },
    consoles: options.consoles,
    pv: pvEffects(parts, options.signature),
  }
}

/** Delivery modes of a message (SDM Vol. 3A, "Interrupt Command Register"). */
const FIXED = 0
const NMI = 4
const ICR_LEVEL_TRIGGERED = 0x8000
