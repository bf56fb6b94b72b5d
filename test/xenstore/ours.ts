/** Our server with two clients: the host's connection as it is, the guest's through its ring. */
import { StoreRing } from '../../src/platforms/xen/store/ring.ts'
import { StoreServer } from '../../src/platforms/xen/store/server.ts'
import { TestGuest, TestPage, testSignals } from '../../src/platforms/xen/store/testing.ts'
import { encodeMessage, HEADER_SIZE, toBytes, toText } from '../../src/platforms/xen/store/wire.ts'
import type { Peer, Received } from './play.ts'

export function ourServer(): Peer {
  // Time passes fast enough that no rate is a limit.
  let now = 0
  const server = new StoreServer(() => (now += 1e9))
  const host = server.connect(0)
  const guest = new TestGuest(new TestPage())
  const ring = new StoreRing({
    server,
    domain: 1,
    page: guest.page,
    signals: testSignals((listener) => (guest.notify = listener)),
    port: 1,
    deadline: () => ({ set: () => {} }),
  })
  // What is for the host is taken at once, as a socket does.
  const messages: Received[] = []
  const take = () => {
    for (let bytes = host.pending(); bytes; bytes = host.pending()) {
      const [type, request, transaction] = new Uint32Array(bytes.slice(0, HEADER_SIZE).buffer)
      messages.push({
        type: type as number,
        request: request as number,
        transaction: transaction as number,
        payload: toText(bytes.subarray(HEADER_SIZE)),
      })
      host.take(bytes.length)
    }
  }
  return {
    send: (client, message) => {
      const bytes = { ...message, payload: toBytes(message.payload) }
      if (client === 'guest') guest.send(encodeMessage(bytes))
      else server.handle(host, bytes)
      ring.service()
      take()
    },
    receive: (client) => (client === 'guest' ? guest.receive() : messages.splice(0)),
  }
}
