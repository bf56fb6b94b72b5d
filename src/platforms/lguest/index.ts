/**
 * lguest as Linux 2.6.36 was its host: a 32-bit kernel in ring 1, shadow page tables, hypercalls by INT 0x1F, virtio
 * devices in the pages above RAM. The guest's processor is the real one: its traps come to the switcher, ring 0 code at
 * the top of the guest's addresses, which asks us.
 */
import type { CpuidResult } from '../../cpu/models.ts'
import type {
  BuildOptions,
  HypercallInstruction,
  Platform,
  PlatformDefinition,
  PlatformOptions,
} from '../../paravirt/platform.ts'
import type { Transfer } from '../../snapshot/stateful.ts'
import { NativePlatform } from '../native/index.ts'
import { buildGuest, entryState } from './build.ts'
import { Devices } from './devices/devices.ts'
import { features } from './features.ts'
import { ownFrames, PAGE } from './frames.ts'
import { virtioRequests } from './devices/requests.ts'
import { Host } from './host.ts'
import { hypercalls } from './hypercalls.ts'
import { Lguest, VCPU } from './lguest.ts'
import { REGS, switcherCode } from './switcher.ts'

/** By this vector the host gets the processor back: it is none of the guest's. */
const KICK = 0xfd
const RING0 = 0

export class LguestPlatform implements Platform {
  readonly #lg: Lguest
  readonly #host: Host
  readonly #devices: Devices
  readonly #native: NativePlatform

  constructor(options: PlatformOptions) {
    const { effects, observer } = options
    this.#native = new NativePlatform(options)
    this.#lg = new Lguest(effects)
    const { map } = this.#lg
    for (let frame = map.devices; frame < map.pool; frame++) effects.memory.setKind(frame, 'ram')
    this.#devices = new Devices(this.#lg, options)
    this.#host = new Host(this.#lg, this.#devices, observer)
    effects.memory.place(map.switcher * PAGE, switcherCode())
    this.#host.segments.begin()
    this.#host.traps.begin()
  }

  #connect(): void {
    this.#lg.effects.irq.line(VCPU, () => (this.#lg.kicked ? KICK : -1))
  }

  transfer(state: Transfer): void {
    state.part('host', this.#host)
    state.part('devices', this.#devices)
    state.part('native', this.#native)
    if (state.loading) this.#connect()
  }

  build(options: BuildOptions): void {
    const { effects } = this.#lg
    const { pieces, entry, pgdir } = buildGuest(options)
    for (const { address, bytes } of pieces) effects.memory.place(address, bytes)
    this.#connect()
    this.#host.shadows.begin(pgdir)
    effects.cpu.enter(VCPU, entryState(entry, this.#host.shadows.reload()))
  }

  cpuid(vcpu: number, leaf: number, subleaf: number, own: CpuidResult): CpuidResult {
    return this.#native.cpuid(vcpu, leaf, subleaf, own)
  }

  rdmsr(vcpu: number, index: number): bigint | undefined {
    return this.#native.rdmsr(vcpu, index)
  }

  wrmsr(vcpu: number, index: number, value: bigint): boolean {
    return this.#native.wrmsr(vcpu, index, value)
  }

  /** VMCALL in ring 0 is the switcher's; EAX tells it whether to load CR3. The guest's own are #UD. */
  hypercall(vcpu: number, instruction: HypercallInstruction): boolean | 'again' {
    const { effects } = this.#lg
    if (instruction !== 'vmcall' || effects.cpu.privilege(vcpu) !== RING0) return false
    if (effects.cpu.low(vcpu, 'rsp') !== REGS) this.#host.switcherFault()
    switch (this.#host.run(() => effects.cpu.cr2(vcpu))) {
      case 'go':
        effects.cpu.setRegister(vcpu, 'rax', BigInt(this.#host.shadows.reload()))
        return true
      case 'sleep':
        effects.lock.block(vcpu)
        return 'again'
      case 'dead':
        this.#end()
        return 'again'
    }
  }

  /** The Launcher has read why the guest is dead. */
  #end(): void {
    const { effects, dead, ending } = this.#lg
    const { machine } = effects
    effects.cpu.park(VCPU)
    if (ending === 'restart') return machine.reset()
    const reason = `lguest: ${dead}`
    if (ending === undefined) return machine.crash(reason)
    machine.report([reason])
    machine.powerOff()
  }
}

export const lguest: PlatformDefinition = {
  name: 'lguest',
  title: 'lguest',
  features,
  requests: [...hypercalls, ...Object.values(virtioRequests)],
  board: 'bare',
  cpus: 1,
  console: 'hvc0',
  devices: ['disks', 'networks'],
  diskName: 'vd',
  frames: ownFrames,
  refuses: ({ bits, version, elf, image }) => {
    if (bits === 64) return 'it is a 64-bit kernel; lguest is for 32-bit ones'
    if (!elf && !image) return 'it has no entry'
    const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? []
    const known = major === undefined || Number(major) < 4 || (Number(major) === 4 && Number(minor) < 14)
    return known ? undefined : 'Linux knows lguest from 2.6.23 to 4.13 only'
  },
  create: (options) => new LguestPlatform(options),
}
