/**
 * What a VMI call is: a row of data. From its answer and its code the ROM is generated; the rest is what every request
 * declares. Calls follow gcc's regparm(3): arguments in EAX, EDX, ECX, then on the stack; results in EAX or EDX:EAX;
 * EAX, ECX, EDX and flags may change.
 */
import type { Declaration } from '../../paravirt/requests.ts'
import type { Part } from './code.ts'
import type { CallFrame, CallResult } from './frame.ts'
import type { Vmi } from './vmi.ts'

/** How GetRelocationInfo answers (paravirtualInterface.h, VMI_RELOCATION_*). */
export const Relocation = { NONE: 0, CALL_REL: 1, JUMP_REL: 2, NOP: 3 } as const

/**
 * `stub`: native code in the ROM. `trap`: the host does it. `nop`: nothing to do, the kernel may leave the call out.
 * `none`: not offered, the kernel goes on as on bare hardware.
 */
export type Answer = 'stub' | 'trap' | 'nop' | 'none'

export interface Call extends Declaration {
  readonly kind: 'hypercall'
  readonly answer: Answer
  /** Stub: all of it, RET included. Trap: what the fast ROM does before it asks the host. */
  readonly code?: readonly Part[]
  /** Trap: what the host does. */
  readonly run?: (vmi: Vmi, vcpu: number, frame: CallFrame) => CallResult
}
