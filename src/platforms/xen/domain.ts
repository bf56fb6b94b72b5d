/**
 * The domain: what its vCPUs share, each one's own, and the ends that backends hold. Requests are carried out on it.
 *
 * Who does what: `kind` is what PVH and PV differ in; `guest` copies from and to the guest; `frames` are Xen's own
 * pages; `events` and `grants` have a side for the guest and one for backends (`events.connect`, `grants.map`), which
 * play the part of dom0.
 */
import type { Effects } from '../../paravirt/effects.ts'
import type { PlatformOptions } from '../../paravirt/platform.ts'
import { Shutdown } from './constants.ts'
import type { Context } from './context.ts'
import { EventChannels } from './events/channels.ts'
import { Pollers } from './events/pollers.ts'
import { Frames, type SharedPage } from './frames.ts'
import { GrantTable } from './grants/table.ts'
import { GuestMemory } from './guest-memory.ts'
import type { Kind } from './kind.ts'
import { XenVcpu } from './vcpu.ts'

export class Domain implements Context {
  readonly effects: Effects
  readonly features: ReadonlySet<string>
  readonly kind: Kind
  readonly frames: Frames
  readonly guest: GuestMemory
  readonly sharedInfo: SharedPage
  readonly vcpus: readonly XenVcpu[]
  readonly events: EventChannels
  readonly pollers: Pollers
  readonly grants: GrantTable
  /** shared_info and what is in it have the 64-bit layout. */
  wideInfo = true
  /** Bits of VMASST_TYPE_* that are on. */
  assists = 0
  /** Why it was shut down, for SCHEDOP_shutdown_code. */
  shutdownCode = -1

  constructor({ effects, features }: PlatformOptions, kind: (domain: Domain) => Kind) {
    this.effects = effects
    this.features = features
    this.frames = new Frames(effects.memory)
    this.guest = new GuestMemory(effects, () => this.kind)
    this.sharedInfo = this.frames.sharedPage()
    this.vcpus = Array.from({ length: effects.cpu.count }, (_, id) => new XenVcpu(this, id))
    this.pollers = new Pollers(this)
    this.events = new EventChannels(this)
    this.grants = new GrantTable(this)
    this.kind = kind(this)
  }

  /** A vCPU by a number that the guest gave. */
  vcpu(id: number): XenVcpu | undefined {
    return this.vcpus[id]
  }

  crash(reason: string): 0 {
    this.effects.machine.crash(reason)
    return 0
  }

  shutdown(reason: number): void {
    const { machine } = this.effects
    switch (reason) {
      case Shutdown.POWEROFF:
        return machine.powerOff()
      case Shutdown.REBOOT:
        return machine.reset()
      case Shutdown.CRASH:
        return machine.crash('it reported its own crash')
      case Shutdown.WATCHDOG:
        return machine.crash('its watchdog timer ran out')
      default:
        machine.crash(`it shut down for reason ${reason}`)
    }
  }
}
