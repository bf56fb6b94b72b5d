/** The virtio entropy source as the Launcher has it: every buffer is filled whole. */
import { type Kind, VirtioId } from './device.ts'
import { type Told, virtioRequests } from './requests.ts'
import { joined, LauncherError } from './virtqueue.ts'

/** `random` gives 32-bit words. */
export function rngKind(random: () => number, { rings, name }: Told): Kind {
  return {
    type: VirtioId.RNG,
    queues: 1,
    features: [],
    config: new Uint8Array(0),
    service: (queue) => {
      for (let chain = queue.take(); chain; chain = queue.take()) {
        if (chain.out.length > 0) throw new LauncherError('Output buffers in rng?')
        const into = joined(chain.in)
        const words = Uint32Array.from({ length: Math.ceil(into.length / 4) }, () => random() >>> 0)
        into.write(new Uint8Array(words.buffer, 0, into.length))
        queue.give(chain.head, into.length)
        rings.note(virtioRequests.random, () => [name, BigInt(into.length)], 0n)
      }
      queue.trigger()
    },
  }
}
