/**
 * What a network card does, whatever ring its frames come by: it finishes what the guest has left to it and passes
 * frames on; frames for the guest wait in a queue of limited length until the transport takes them.
 */
import type { NetworkPort } from '../../backends/network/port.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { completeChecksum, segment } from './offload.ts'

/** A frame from a guest, and what is to be done with it. */
export interface OutgoingFrame {
  readonly bytes: Uint8Array
  /** The checksum of TCP or UDP is missing. */
  readonly blankChecksum: boolean
  /** Cut it into TCP segments with so many bytes of payload. */
  readonly segmentSize?: number | undefined
}

/** Frames that wait for the guest; more are dropped, as a card does whose ring is full. */
const QUEUE = 256
/** Frames for several guests: a group's. */
const isMulticast = (frame: Uint8Array): boolean => ((frame[0] ?? 0) & 1) !== 0
const isBroadcast = (frame: Uint8Array): boolean => frame.subarray(0, 6).every((byte) => byte === 0xff)
const keyOf = (address: Uint8Array): string => Array.from(address, (byte) => byte.toString(16)).join(':')
/** Groups that a guest can ask for; XEN_NETBK_MCAST_MAX is as many. */
const MAX_GROUPS = 64

export class NetDevice implements Stateful {
  readonly #port: NetworkPort
  readonly #waiting: Uint8Array[] = []
  /** As often as they were asked for. */
  readonly #groups: string[] = []
  /** Only groups that were asked for. */
  filtersGroups = false
  #onFrame: (() => void) | undefined

  constructor(port: NetworkPort) {
    this.#port = port
  }

  /** Started if it was. */
  transfer(state: Transfer): void {
    state.list('waiting', this.#waiting)
    state.list('groups', this.#groups)
    this.filtersGroups = state.field('filtersGroups', this.filtersGroups)
  }

  /** Frames come from now on; `onFrame` is called for each. */
  start(onFrame: () => void): void {
    this.#onFrame = onFrame
    this.#port.attach((frame) => this.#receive(frame))
  }

  stop(): void {
    this.#onFrame = undefined
    this.#port.attach(undefined)
    this.#waiting.length = 0
    this.#groups.length = 0
    this.filtersGroups = false
  }

  /** False: it was dropped, for what it asks for cannot be done with it. */
  send({ bytes, blankChecksum, segmentSize }: OutgoingFrame): boolean {
    const frames = segmentSize === undefined ? [bytes] : segment(bytes, segmentSize)
    if (!frames || (segmentSize === undefined && blankChecksum && !completeChecksum(bytes))) return false
    for (const frame of frames) this.#port.send(frame)
    return true
  }

  /** The next frame for the guest, and taking it. */
  get next(): Uint8Array | undefined {
    return this.#waiting[0]
  }

  take(): void {
    this.#waiting.shift()
  }

  /** False: there are too many groups. */
  joinGroup(address: Uint8Array): boolean {
    if (this.#groups.length >= MAX_GROUPS) return false
    this.#groups.push(keyOf(address))
    return true
  }

  leaveGroup(address: Uint8Array): void {
    const index = this.#groups.indexOf(keyOf(address))
    if (index >= 0) this.#groups.splice(index, 1)
  }

  #receive(frame: Uint8Array): void {
    if (!this.#onFrame || this.#waiting.length >= QUEUE) return
    const group = this.filtersGroups && isMulticast(frame) && !isBroadcast(frame)
    if (group && !this.#groups.includes(keyOf(frame.subarray(0, 6)))) return
    this.#waiting.push(frame)
    this.#onFrame()
  }
}
