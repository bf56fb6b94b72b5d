/** All hypercalls that Xen has for its guests, by who declares them. */
import type { Declaration } from '../../../paravirt/requests.ts'
import type { Command, Hypercall } from './declare.ts'
import { eventChannelOp } from '../events/commands.ts'
import { mmuHypercalls } from '../mm/hypercalls.ts'
import { pvHypercalls } from '../pv/hypercalls.ts'

export const hypercalls: readonly Hypercall[] = [eventChannelOp, ...mmuHypercalls, ...pvHypercalls]

/** What a guest of this kind can ask: calls without commands, and commands. */
export const requestsOf = (kind: 'pvh' | 'pv'): Declaration[] =>
  hypercalls
    .flatMap((call): (Hypercall | Command)[] => [...(call.commands ?? [call])])
    .filter(({ guest }) => guest === undefined || guest === kind)
