/** All hypercalls that Xen has for its guests, by who declares them. */
import type { Declaration } from '../../../paravirt/requests.ts'
import { eventChannelOp } from '../events/commands.ts'
import { grantTableOp } from '../grants/commands.ts'
import { mmuHypercalls } from '../mm/hypercalls.ts'
import { pvHypercalls } from '../pv/hypercalls.ts'
import { hvmOp } from '../pvh/hvm-op.ts'
import { consoleIo } from './console.ts'
import type { Command, Hypercall } from './declare.ts'
import { memoryOp } from './memory.ts'
import { multicall } from './multicall.ts'
import { olderHypercalls } from './older.ts'
import { refused } from './refused.ts'
import { schedOp, schedOpCompat, setTimerOp } from './sched.ts'
import { vcpuOp } from './vcpu.ts'
import { xenVersion } from './version.ts'
import { vmAssist } from './vm-assist.ts'

export const hypercalls: readonly Hypercall[] = [
  memoryOp,
  multicall,
  setTimerOp,
  xenVersion,
  consoleIo,
  vmAssist,
  vcpuOp,
  schedOp,
  schedOpCompat,
  eventChannelOp,
  ...olderHypercalls,
  grantTableOp,
  hvmOp,
  ...refused,
  ...mmuHypercalls,
  ...pvHypercalls,
]

/** What a guest of this kind can ask: calls without commands, and commands. */
export const requestsOf = (kind: 'pvh' | 'pv'): Declaration[] =>
  hypercalls
    .flatMap((call): (Hypercall | Command)[] => [...(call.commands ?? [call])])
    .filter(({ guest }) => guest === undefined || guest === kind)
