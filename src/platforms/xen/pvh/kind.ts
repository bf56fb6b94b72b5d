/** PVH: an HVM guest without devices. Frame numbers are guest-physical, upcalls are interrupts. */
import type { BuildOptions } from '../../../paravirt/platform.ts'
import type { Domain } from '../domain.ts'
import { Errno } from '../errno.ts'
import type { Kind } from '../kind.ts'

export class PvhKind implements Kind {
  readonly name = 'pvh'
  readonly #domain: Domain

  constructor(domain: Domain) {
    this.#domain = domain
  }

  frame(gfn: number): number {
    const { memory } = this.#domain.effects
    return gfn < memory.frames && memory.kind(gfn) === 'ram' ? gfn : -1
  }

  hold(gfn: number): number {
    return this.frame(gfn)
  }

  release(): void {}

  mayAccess(): boolean {
    return true
  }

  upcall(_vcpu: number): void {}

  block(vcpu: number): void {
    this.#domain.effects.lock.block(vcpu)
  }

  initialise(): number {
    return Errno.ENOSYS
  }

  up(_vcpu: number): void {}

  down(vcpu: number): void {
    this.#domain.effects.cpu.park(vcpu)
  }

  movedInfo(): void {}

  build(_options: BuildOptions): void {}
}
