/**
 * Signals: one bit that says "look", between a guest and what serves it. An event channel is one; a SynIC flag or a
 * message-signalled interrupt would be others. Devices know only this.
 */

/** The host's end. */
export interface Signal {
  /** Its number among the host's ends, by which snapshots know it. */
  readonly own: number
  /** Tell the guest. Nothing happens if its end is closed. */
  raise(): void
  /** No more signals in either direction. */
  close(): void
}

export interface Signals {
  /**
   * Connect to the guest's end, by the number that the guest gave; undefined if it offers nothing there. `listener` is
   * called whenever the guest signals, perhaps in the middle of its hypercall: note it and do the work later.
   */
  connect(number: number, listener: () => void): Signal | undefined
  /** While a snapshot is loaded: what was connected when it was taken. */
  restore(own: number, listener: () => void): Signal
}
