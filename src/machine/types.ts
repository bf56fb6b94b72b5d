/** The machine as those who run one see it: the command, the bench, the tests. */

/** What a serial port's bytes go to: `com1` is ttyS0. A port without a sink discards them. */
export type SerialSinks = { readonly [Port in SerialPort]?: (bytes: Uint8Array) => void }
export type SerialPort = 'com1' | 'com2' | 'com3' | 'com4'
export const SERIAL_PORTS: readonly SerialPort[] = ['com1', 'com2', 'com3', 'com4']

/** Why a machine stopped. */
export type ExitReason =
  /** The guest switched itself off (ACPI S5). */
  | { readonly kind: 'power-off' }
  /** The guest reset itself: keyboard controller, port 0xCF9 or the FADT's reset register. */
  | { readonly kind: 'reset' }
  /** HLT with interrupts off, and nothing that could ever end it. */
  | { readonly kind: 'halted' }
  /** An exception during the delivery of a double fault. `detail` says where, in one line. */
  | { readonly kind: 'triple-fault'; readonly detail: string }
  /** The caller's AbortSignal. */
  | { readonly kind: 'aborted' }

export interface MachineStats {
  /** Guest instructions executed. */
  readonly instructions: number
  /** Virtual time since power-on, in nanoseconds. */
  readonly virtualNanoseconds: number
}

export interface Machine {
  /** Runs until the machine stops. Rejects only if the virtual machine itself is at fault. */
  run(signal?: AbortSignal): Promise<ExitReason>
  /** The serial ports, as in SERIAL_PORTS: bytes that the guest receives, in order, as it takes them. */
  readonly serial: readonly { send(bytes: Uint8Array): void }[]
  stats(): MachineStats
}
