/** The virtio console as the Launcher has it: bytes in, bytes out. */
import type { ConsolePort } from '../../../paravirt/effects.ts'
import { type Kind, VirtioId } from './device.ts'
import { type Told, virtioRequests } from './requests.ts'
import { joined, LauncherError, type Virtqueue } from './virtqueue.ts'

const INPUT = 0
/** What is typed waits here until the guest takes it; more is lost, as on a terminal. */
const TYPED_AHEAD = 65_536

/** Bytes of a text that watchers are told. */
const LONGEST_TOLD = 4096

export function consoleKind(port: ConsolePort, later: (action: () => void) => () => void, { rings, name }: Told): Kind {
  const typed: number[] = []
  /** Where input goes, while there is a driver. */
  let waiting: Virtqueue | undefined
  const input = (queue: Virtqueue) => {
    while (typed.length > 0) {
      const chain = queue.take()
      if (!chain) break
      if (chain.out.length > 0) throw new LauncherError('Output buffers in console in queue?')
      const into = joined(chain.in)
      const bytes = Uint8Array.from(typed.splice(0, into.length))
      into.write(bytes)
      queue.give(chain.head, bytes.length)
      rings.note(virtioRequests.type, () => [name], BigInt(bytes.length))
      queue.trigger()
    }
  }
  const deliver = later(() => waiting && input(waiting))
  port.onInput = (bytes) => {
    if (typed.length + bytes.length <= TYPED_AHEAD) typed.push(...bytes)
    deliver()
  }
  return {
    type: VirtioId.CONSOLE,
    queues: 2,
    features: [],
    config: new Uint8Array(0),
    service: (queue, index) => {
      if (index === INPUT) return input(queue)
      for (let chain = queue.take(); chain; chain = queue.take()) {
        if (chain.in.length > 0) throw new LauncherError('Input buffers in console output queue?')
        const text = joined(chain.out).read()
        port.output(text)
        queue.give(chain.head, 0)
        rings.note(virtioRequests.show, () => [name, String.fromCharCode(...text.subarray(0, LONGEST_TOLD))], 0n)
      }
      queue.trigger()
    },
    start: ({ queues }) => {
      waiting = queues[INPUT]
    },
    transfer: (state) => state.list('typed', typed),
    stop: () => {
      waiting = undefined
    },
  }
}
