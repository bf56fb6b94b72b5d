/**
 * The guest's identity and the page through which it calls (TLFS, "Reporting the Guest OS Identity" and "Establishing
 * the Hypercall Interface").
 */
import type { HypercallInstruction } from '../../paravirt/platform.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { Overlay, type Overlays } from './overlay.ts'

const ENABLE = 1n
const LOCKED = 2n

/** ENDBR64, because the page is called indirectly; the instruction; RET. */
const code: Readonly<Record<HypercallInstruction, readonly number[]>> = {
  vmcall: [0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x01, 0xc1, 0xc3],
  vmmcall: [0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x01, 0xd9, 0xc3],
}

export class HypercallPage implements Stateful {
  readonly instruction: HypercallInstruction
  readonly #pages: number
  readonly #overlay: Overlay
  #osId = 0n
  #register = 0n

  constructor(overlays: Overlays, instruction: HypercallInstruction) {
    this.instruction = instruction
    this.#pages = overlays.memory.pages
    this.#overlay = new Overlay(overlays, false)
    this.#overlay.store(0, Uint8Array.from(code[instruction]))
  }

  transfer(state: Transfer): void {
    state.part('overlay', this.#overlay)
    this.#osId = state.field('osId', this.#osId)
    this.#register = state.field('register', this.#register)
  }

  get enabled(): boolean {
    return (this.#register & ENABLE) !== 0n
  }

  get osId(): bigint {
    return this.#osId
  }

  /** Who no longer has an identity cannot call. */
  writeOsId(value: bigint): void {
    this.#osId = value
    if (value !== 0n) return
    this.#register &= ~ENABLE
    this.#overlay.place(undefined)
  }

  get register(): bigint {
    return this.#register
  }

  /** False: #GP, the page would lie outside memory. A locked register keeps its value. */
  write(value: bigint): boolean {
    if (this.#register & LOCKED) return true
    const wanted = this.#osId === 0n ? value & ~ENABLE : value
    const page = wanted >> 12n
    if (wanted & ENABLE && page >= BigInt(this.#pages)) return false
    this.#register = wanted
    this.#overlay.place(wanted & ENABLE ? Number(page) : undefined)
    return true
  }
}
