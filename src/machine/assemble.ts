/**
 * A machine put together: core, PC, platform, vCPUs and clock, and who answers whom. Nothing has been loaded yet: a
 * kernel or a snapshot comes next. What is state is handed over by `transfer`, but for the core's memory.
 */
import { BootError } from '../boot/error.ts'
import { Core, type CoreHost } from '../cpu/core.ts'
import { M, MAXPHYADDR, PageAttr, S } from '../cpu/layout.ts'
import { cpuid, cpuModel, signature, type CpuidState } from '../cpu/models.ts'
import { isApicMsr } from '../devices/lapic/registers.ts'
import type { ConsolePort } from '../paravirt/effects.ts'
import { Observer } from '../paravirt/observe.ts'
import { chosenFeatures, type Platform, type PlatformDefinition } from '../paravirt/platform.ts'
import { definitions } from '../platforms/index.ts'
import type { Transfer } from '../snapshot/stateful.ts'
import { Census } from './census.ts'
import { CountedClock, RealClock } from './clock.ts'
import type { Debugger } from './debugger.ts'
import { type EffectsParts, machineEffects } from './effects.ts'
import { createPc, type Pc } from './pc.ts'
import { hostRandom, RepeatedRandom } from './random.ts'
import type { RunState } from './run-state.ts'
import { SerialOutput } from './serial-output.ts'
import type { Hardware, HostOptions, SerialPort } from './types.ts'
import { Vcpus } from './vcpus.ts'

/** Power-on of a deterministic machine: 2026-01-01 UTC. */
const DETERMINISTIC_EPOCH = Date.UTC(2026, 0, 1)
const PAGE = 4096
/** The core's number for SYSCALL as a hypercall. */
const SYSCALL = 2
const CR4_OSXSAVE = 1n << 18n
export const SERIAL_PORTS: readonly SerialPort[] = ['com1', 'com2', 'com3', 'com4']

export type Assembly = Awaited<ReturnType<typeof assemble>>

export async function assemble(options: Hardware & HostOptions, state: RunState) {
  const model = cpuModel(options.cpu)
  const cpus = options.cpus ?? 1
  const { memory, deterministic = false } = options
  const definition: PlatformDefinition = definitions[options.platform]
  if (cpus > (definition.cpus ?? cpus))
    throw new BootError(`cpus: ${cpus}; a guest of ${definition.title} has at most ${definition.cpus}`)
  const frames = memory / PAGE + (definition.frames?.(memory, cpus) ?? 0)
  const bare = definition.board === 'bare'
  const epoch = options.epoch ?? (deterministic ? DETERMINISTIC_EPOCH : Date.now())
  const hardware: Hardware = {
    memory,
    cpus,
    cpu: options.cpu,
    platform: options.platform,
    features: options.features ?? [],
    testDevices: options.testDevices ?? false,
    deterministic,
    fastSerial: options.fastSerial ?? [],
    epoch,
  }
  const outputs = SERIAL_PORTS.map((port) => new SerialOutput(options.serial[port]))
  const census = options.census ? new Census() : undefined
  const repeated = deterministic ? new RepeatedRandom() : undefined
  const random = repeated ? () => repeated.next() : hostRandom()
  /** Whoever debugs the machine, while somebody does. */
  const debug: { current: Debugger | undefined } = { current: undefined }
  let core: Core
  let pc: Pc
  let platform: Platform
  const host: CoreHost = {
    mmioRead: (vcpu, address, size) => pc.mmio.read(address, size, vcpu),
    mmioWrite: (vcpu, address, size, value) => pc.mmio.write(address, size, value, vcpu),
    portIn: (vcpu, port, size) => platform.portIn?.(vcpu, port, size) ?? pc.ports.read(port, size),
    portOut: (vcpu, port, size, value) => {
      if (!platform.portOut?.(vcpu, port, size, value)) pc.ports.write(port, size, value)
    },
    rdpmc: (vcpu, index) => platform.rdpmc?.(vcpu, index),
    rdmsr: (vcpu, index) =>
      isApicMsr(index) && !platform.pv ? pc.interrupts.rdmsr(vcpu, index) : platform.rdmsr(vcpu, index),
    wrmsr: (vcpu, index, value) =>
      isApicMsr(index) && !platform.pv
        ? pc.interrupts.wrmsr(vcpu, index, Number(value & 0xffffffffn), Number(value >> 32n))
        : platform.wrmsr(vcpu, index, value),
    cpuid: (vcpu, leaf, subleaf) => {
      const cr4 = core.u64[((core.vcpus[vcpu] as number) + S.CR4) >> 3] as bigint
      const cpu: CpuidState = {
        apicId: vcpu,
        vcpus: cpus,
        osxsave: (cr4 & CR4_OSXSAVE) !== 0n,
        apicEnabled: pc.interrupts.lapics[vcpu].enabled,
      }
      return platform.cpuid(vcpu, leaf, subleaf, cpuid(model, leaf, subleaf, cpu))
    },
    hypercall: (vcpu, kind) =>
      kind === SYSCALL
        ? (platform.pv?.hypercall(vcpu) ?? 'done') === 'done' || 'again'
        : platform.hypercall(vcpu, kind === 0 ? 'vmcall' : 'vmmcall'),
    pvCrash: (vcpu, reason) => platform.pv?.crash(vcpu, reason),
    pvLdt: (vcpu, page) => platform.pv?.ldt(vcpu, page) ?? 0,
    pvNote: (vcpu, number, result) => platform.pv?.note(vcpu, number, result),
    pvRoot: (vcpu, frame) => platform.pv?.root(vcpu, frame) ?? false,
    pvStore: (vcpu, address, size, low, high) => platform.pv?.store(vcpu, address, size, low, high) ?? false,
    tsc: () => clock.now(),
    readCr8: (vcpu) => pc.interrupts.readCr8(vcpu),
    writeCr8: (vcpu, value) => pc.interrupts.writeCr8(vcpu, value),
    random,
    watchedStore: (vcpu, address, size, value, attribute) => {
      census?.store(address, size, value, attribute)
      debug.current?.accessed(vcpu, address, size, true)
    },
    watchedLoad: (vcpu, address, size) => {
      census?.load(address, size)
      debug.current?.accessed(vcpu, address, size, false)
    },
    acknowledge: (vcpu) => pc.interrupts.acknowledge(vcpu),
  }
  const hooked = options.hooks?.over(host) ?? host
  core = await Core.create({
    ramBytes: frames * PAGE,
    vcpus: cpus,
    signature: signature(model),
    amd: model.vendor === 'AuthenticAMD',
    host: options.exits?.over(hooked) ?? hooked,
    interpreter: census?.interpreter ?? options.interpreter,
    translate: census ? false : (options.translate ?? true),
    profile: options.profile,
    deterministic,
  })
  options.hooks?.attach(core)
  // The platform's own frames are nothing to the guest until they are given to it.
  core.u8.fill(PageAttr.MMIO, M.PAGE_ATTR + memory / PAGE, M.PAGE_ATTR + frames)
  // Power-on is now: building the core is not the guest's time.
  const clock = deterministic ? new CountedClock(() => vcpus.count()) : new RealClock()
  census?.start(core)
  const { hooks } = options
  const requests = new Observer(() => clock.now(), hooks && ((request, args) => hooks.refusal(request, args)))
  const consoles: readonly ConsolePort[] = outputs.map((sink) => ({
    connected: sink.connected,
    output: (bytes) => {
      for (const byte of bytes) sink.push(byte)
    },
    onInput: undefined,
  }))
  const parts: Partial<EffectsParts> = { core, clock }
  const effects = machineEffects({
    parts: () => parts as EffectsParts,
    census,
    cpus,
    consoles,
    memory,
    frames,
    signature: signature(model),
    epoch,
    random,
    onReset: () => state.stop({ kind: 'reset' }),
    onPowerOff: () => state.stop({ kind: 'power-off' }),
    onCrash: (detail) => state.stop({ kind: 'crash', detail }),
    onReport: (lines) => options.onReport?.(lines),
    onWake: () => state.wake(),
  })
  const features = chosenFeatures(definition, options.features ?? [])
  platform = definition.create({ effects, model, features, observer: requests, devices: options.devices })
  const vcpus = new Vcpus({
    core,
    now: () => clock.now(),
    watcher: options.exits?.watch(platform) ?? platform,
    signature: signature(model),
    onBootInit: () => state.stop({ kind: 'reset' }),
  })
  pc = createPc({
    clock,
    cpus: vcpus.apicCpus(),
    physicalBits: MAXPHYADDR,
    x2apic: true,
    extendedIds: platform.extendedIds,
    ioapicPins: platform.ioapicPins,
    pci: platform.pci,
    bare,
    epoch,
    serial: outputs.map((output) => (byte) => output.push(byte)),
    fastSerial: SERIAL_PORTS.map((port) => options.fastSerial?.includes(port) ?? false),
    onReset: () => state.stop({ kind: 'reset' }),
    onPowerOff: () => state.stop({ kind: 'power-off' }),
    testDevices: options.testDevices
      ? { cpus, memory, onExit: (code) => state.stop({ kind: 'exit', code }) }
      : undefined,
  })
  parts.vcpus = vcpus
  parts.interrupts = pc.interrupts
  clock.onEarlier = () => vcpus.interrupt()
  clock.onLate = () => vcpus.interrupt()
  state.interrupt = () => vcpus.interrupt()
  if (platform.openPorts) {
    const { first, count, key } = platform.openPorts
    core.openPorts(first, count, key)
  }
  if (!bare) for (const [i, uart] of pc.uarts.entries()) consoles[i].onInput = (bytes) => uart.receive(bytes)
  /** In this order: what a part does to others while it is loaded is undone when they are. */
  const transfer = (saved: Transfer) => {
    saved.part('platform', platform)
    saved.part('effects', effects)
    saved.part('pc', pc)
    if (repeated) saved.part('random', repeated)
    saved.part('vcpus', vcpus)
    saved.part('clock', clock)
  }
  return { hardware, core, clock, platform, vcpus, consoles, outputs, requests, census, debug, transfer }
}
