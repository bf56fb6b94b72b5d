/** Frames for the guest: copied into the pages that it offers on the receive ring, one or more for each frame. */
import type { NetDevice } from '../../../../devices/net/net.ts'
import type { RingWatch } from '../../../../paravirt/observe.ts'
import type { Sharing } from '../../../../paravirt/sharing.ts'
import type { BackRing } from '../ring.ts'
import { decodeRx, encodeRxResponse, ERROR_NAME, netDeclarations, Response, RxFlag } from './requests.ts'

const PAGE = 4096

export interface ReceiveOptions {
  readonly device: NetDevice
  readonly ring: BackRing
  readonly sharing: Sharing
  readonly rings: RingWatch
  /** What the device is called where its requests are told. */
  readonly name: string
  readonly notify: () => void
}

export class Receiver {
  readonly #options: ReceiveOptions

  constructor(options: ReceiveOptions) {
    this.#options = options
  }

  /** Deliver what waits, as far as the guest has offered pages. */
  run(): void {
    const { device, ring, notify } = this.#options
    for (let frame = device.next; frame; frame = device.next) {
      const slots = Math.ceil(frame.length / PAGE)
      if (ring.waiting < slots) {
        ring.listen(slots)
        if (ring.waiting < slots) break
      }
      device.take()
      this.#deliver(frame, slots)
    }
    if (ring.announce()) notify()
  }

  #deliver(frame: Uint8Array, slots: number): void {
    const { ring, sharing, rings, name } = this.#options
    for (let slot = 0; slot < slots; slot++) {
      const { id, reference } = decodeRx(ring.peek())
      ring.take()
      const part = frame.subarray(slot * PAGE, (slot + 1) * PAGE)
      const values = () => [name, BigInt(id), BigInt(reference)]
      const refused = rings.refusal(netDeclarations.receive, values) !== undefined
      const done = !refused && sharing.write(reference, 0, part)
      rings.note(netDeclarations.receive, values, done ? BigInt(part.length) : ERROR_NAME)
      // Its checksums are right: they were made by the network here.
      const flags = (slot === 0 ? RxFlag.DATA_VALIDATED : 0) | (slot < slots - 1 ? RxFlag.MORE_DATA : 0)
      ring.respond(encodeRxResponse(id, flags, done ? part.length : Response.ERROR))
    }
  }
}
