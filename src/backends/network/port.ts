/**
 * Where a network card is plugged in: Ethernet frames in and out, whole ones without checksum of their own (FCS).
 * A port may answer within `send`, or at any later time.
 */
export interface NetworkPort {
  /** A frame from the card. The port may keep the bytes. */
  send(frame: Uint8Array): void
  /** Frames for the card go to `receive` from now on; undefined: it is unplugged. */
  attach(receive: ((frame: Uint8Array) => void) | undefined): void
}
