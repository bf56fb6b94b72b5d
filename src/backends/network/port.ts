/**
 * Where a network card is plugged in: Ethernet frames in and out, whole ones without checksum of their own (FCS).
 * A port may answer within `send`, or at any later time.
 */
import type { Stateful } from '../../snapshot/stateful.ts'

export interface NetworkPort {
  /** What the network remembers, for snapshots. */
  readonly state?: Stateful
  /** A frame from the card. The port may keep the bytes. */
  send(frame: Uint8Array): void
  /** Frames for the card go to `receive` from now on; undefined: it is unplugged. */
  attach(receive: ((frame: Uint8Array) => void) | undefined): void
}
