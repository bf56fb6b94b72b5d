/** All hypercalls that Xen has for its guests, by who declares them. */
import type { Hypercall } from './declare.ts'
import { eventChannelOp } from '../events/commands.ts'

/** xen-cpu adds pv/hypercalls.ts, xen-mmu mm/hypercalls.ts: lists of `Hypercall` with `guest: 'pv'`. */
export const hypercalls: readonly Hypercall[] = [eventChannelOp]
