/**
 * What the kernel does, the same on every platform: interrupts, traps, page tables, user mode, time, other CPUs. Each
 * line that it prints is a check. Everything privileged in it is an operation of pv_ops.
 */
import type { Builder } from '../builder.ts'
import { lockCode } from './lock.ts'
import { otherCpus, otherCpusCode } from './other-cpus.ts'
import { pageTables } from './page-tables.ts'
import { faults, interrupts, processor } from './processor.ts'
import { time, timeCode } from './time.ts'
import { userCode, userMode } from './user-mode.ts'

type Part = (k: Builder) => string

const parts: readonly Part[] = [interrupts, processor, faults, pageTables, userMode, time, otherCpus]
const functions: readonly Part[] = [userCode, timeCode, otherCpusCode, lockCode]

export const programme: Part = (k) => parts.map((part) => part(k)).join('\n')

/** What it calls, and its data. */
export const programmeCode: Part = (k) => functions.map((part) => part(k)).join('\n')
