/**
 * IRET is the kernel's, whose table of expected faults knows the place of the call only: so a return that may fault is
 * made by the host, as if it stood there. Selectors of the GDT with which a return went well are written into the ROM's
 * code, and returns with these are native.
 */
import type { Effects } from '../../paravirt/effects.ts'
import { pieces, label, type Part, tell, to } from './code.ts'
import type { IretPlaces } from './rom.ts'

export const IRET = 33
/** No selector that was found good yet. */
const NONE_YET = [0xff, 0xff]
const USER = 3
const TABLE_INDICATOR = 4

/** Stack: return address, EIP, CS, EFLAGS, ESP, SS. */
export const iretCode: readonly Part[] = pieces(
  [0xf6, 0x44, 0x24, 0x0e, 0x02, 0x75, to('host')], // test byte [esp+14], EFLAGS.VM >> 16; jnz host
  [0x66, 0x81, 0x7c, 0x24, 0x08, label('kernelCs'), ...NONE_YET, 0x74, to('native')], // cmp word [esp+8], CS; je native
  [0x66, 0x81, 0x7c, 0x24, 0x08, label('userCs'), ...NONE_YET, 0x75, to('host')], // cmp word [esp+8], CS; jne host
  [0x66, 0x81, 0x7c, 0x24, 0x14, label('userSs'), ...NONE_YET, 0x75, to('host')], // cmp word [esp+20], SS; jne host
  [label('native'), 0x83, 0xc4, 0x04, 0xcf], // add esp, 4; iret
  [label('host'), ...tell(IRET), 0x0f, 0x0b], // ud2: it does not return
)

export class IretSelectors {
  readonly #effects: Effects
  readonly #places: IretPlaces | undefined

  constructor(effects: Effects, places: IretPlaces | undefined) {
    this.#effects = effects
    this.#places = places
  }

  /** IRET as if it stood at `rip` with its frame at `rsp`. */
  perform(vcpu: number, rip: number, rsp: number): void {
    const { cpu } = this.#effects
    cpu.iret(vcpu, BigInt(rip), BigInt(rsp), (cs, ss) => {
      if ((cs | ss) & TABLE_INDICATOR) return
      if ((cs & USER) === 0) this.#learn('kernelCs', cs)
      else {
        this.#learn('userCs', cs)
        this.#learn('userSs', ss)
      }
    })
  }

  #learn(name: 'kernelCs' | 'userCs' | 'userSs', selector: number): void {
    const at = this.#places?.[name]
    if (at !== undefined) this.#effects.memory.place(at, Uint8Array.of(selector & 0xff, selector >> 8))
  }
}
