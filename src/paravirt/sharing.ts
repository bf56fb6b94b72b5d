/**
 * Sharing: memory that a guest lends to what serves it, whatever the transport: grants, descriptor chains, GPADLs. A
 * transport checks every piece once and makes a list of them; block, net and file semantics see only that list.
 */

/** A run of guest memory that has been checked: all of it is RAM, lent for reading or for writing too. */
export interface GuestRange {
  /** The guest's memory itself, to be read. What is in it may change whenever the guest runs. */
  readonly bytes: Uint8Array
  /** Writes go through here, so that decoded code is dropped where it changes. Not beyond the range. */
  write(offset: number, bytes: Uint8Array): void
}

export interface SharedPage extends GuestRange {
  /** Give it back: the guest may use it for something else from now on. */
  release(): void
}
