/** What a run that has ended means to the user: an exit code, and one line on stderr unless all is well. */
import { constants } from 'node:os'
import type { ExitReason } from '../machine/types.ts'
import { ExitCode, signalExitCode } from './exit-codes.ts'

/** Why the command itself ended the machine. */
export type Stop =
  | { readonly kind: 'quit' }
  | { readonly kind: 'timeout'; readonly milliseconds: number }
  | { readonly kind: 'signal'; readonly signal: NodeJS.Signals }
  /** The --exec command has ended. */
  | { readonly kind: 'executed'; readonly exitCode: number }

export interface Outcome {
  readonly code: number
  readonly line?: string
}

export interface Ended {
  readonly reason: ExitReason
  /** The first reason of the command's to abort the machine, if it did. */
  readonly stop: Stop | undefined
  readonly panic: string | undefined
  /** --exec was given, so whatever ends the guest before the command's end is a failure. */
  readonly executing: boolean
  /** Why the guest's init cannot carry out the command, in its words. */
  readonly refusal?: string | undefined
}

export function outcome({ reason, stop, panic, executing, refusal }: Ended): Outcome {
  if (stop) return outcomeOfStop(stop)
  // A kernel that panics resets, halts or triple-faults afterwards: the panic is what the user wants to know.
  if (panic !== undefined) return { code: ExitCode.PANIC, line: `the guest's ${panic.replace(/^K/, 'k')}` }
  const early = executing ? ' before the command ended' : ''
  switch (reason.kind) {
    case 'power-off':
      if (executing && refusal !== undefined) return { code: ExitCode.HALTED, line: `--exec: ${refusal}` }
      return executing ? { code: ExitCode.HALTED, line: `the guest powered off${early}` } : { code: ExitCode.OK }
    case 'exit':
      return { code: reason.code }
    case 'reset':
      return { code: ExitCode.RESET, line: `the guest reset itself${early}` }
    case 'halted':
      return { code: ExitCode.HALTED, line: `the guest halted with interrupts off${early}` }
    case 'triple-fault':
      return { code: ExitCode.TRIPLE_FAULT, line: `triple fault${early}: ${reason.detail}` }
    case 'crash':
      return { code: ExitCode.TRIPLE_FAULT, line: `the hypervisor stopped the guest${early}: ${reason.detail}` }
    case 'aborted':
      throw new Error('the machine was aborted, but by nobody')
  }
}

function outcomeOfStop(stop: Stop): Outcome {
  switch (stop.kind) {
    case 'quit':
      return { code: ExitCode.OK }
    case 'executed':
      return { code: stop.exitCode }
    case 'timeout':
      return {
        code: ExitCode.TIMEOUT,
        line: `timeout: the guest was still running after ${stop.milliseconds / 1000} s`,
      }
    case 'signal':
      return { code: signalExitCode(constants.signals[stop.signal]) }
  }
}
