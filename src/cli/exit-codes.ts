/**
 * The exit codes of `paravirt run`. Those of our own lie where timeout(1), env(1) and others keep theirs, above what
 * programs commonly use, because with --exec the code is otherwise the command's. Documented in README.md.
 */
export const ExitCode = {
  /** The guest powered itself off, or the --exec command returned 0. */
  OK: 0,
  /** `trace`: two traces differ. `doctor`: something is wrong. As diff(1) and grep(1). */
  DIFFERENT: 1,
  /** Bad input: options, names, files, sizes. Nothing was started. */
  USAGE: 2,
  /** The guest's kernel panicked. */
  PANIC: 120,
  /** Triple fault: an exception that the guest could not handle; or its hypervisor crashed it. */
  TRIPLE_FAULT: 121,
  /** The guest stopped for good: HLT with interrupts off and nothing to wake it. */
  HALTED: 122,
  /** The guest reset itself. */
  RESET: 123,
  /** --timeout was reached. */
  TIMEOUT: 124,
  /** paravirt itself failed. */
  HOST_ERROR: 125,
} as const

/** Ended by a signal: the shells' convention. */
export const signalExitCode = (signalNumber: number): number => 128 + signalNumber
