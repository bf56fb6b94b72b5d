/** Plays a sequence to a server and writes down what its clients get. */
import { createHash } from 'node:crypto'
import { MessageType } from '../../src/platforms/xen/store/wire.ts'
import type { ClientName, Operation } from './operations.ts'

export interface Received {
  readonly type: number
  readonly request: number
  readonly transaction: number
  readonly payload: string
}

/** A server with its two clients. */
export interface Peer {
  send(client: ClientName, message: Received): Promise<void> | void
  /** Messages that have come, at least one. */
  receive(client: ClientName): Promise<Received[]> | Received[]
}

/** Its answer says that everything before it has arrived. */
const SYNC = 0x7fffffff

/** What a toolstack would have made. */
const preparation: readonly [type: number, payload: string][] = [
  [MessageType.MKDIR, '/local/domain/1\0'],
  [MessageType.SET_PERMS, '/local/domain/1\0n0\0r1\0'],
  [MessageType.MKDIR, '/local/domain/1/data\0'],
  [MessageType.SET_PERMS, '/local/domain/1/data\0n1\0'],
  [MessageType.MKDIR, '/shared\0'],
  [MessageType.SET_PERMS, '/shared\0b0\0'],
]

const names = new Map<number, string>(Object.entries(MessageType).map(([name, number]) => [number, name]))

function format({ type, request, transaction, payload }: Received): string {
  // Generations are the server's own way of counting.
  const shown = type === MessageType.DIRECTORY_PART ? payload.replace(/^\d+/, 'N') : payload
  const digest = shown.length > 200 ? `${shown.length}:${createHash('sha1').update(shown).digest('hex')}` : shown
  return `${names.get(type) ?? type} ${request} ${transaction} ${JSON.stringify(digest)}`
}

export async function play(peer: Peer, operations: readonly Operation[]): Promise<string[]> {
  const log: string[] = []
  const open: Record<ClientName, number[]> = { host: [], guest: [] }
  const exchange = async (client: ClientName, message: Received): Promise<Received[]> => {
    await peer.send(client, message)
    await peer.send(client, { type: MessageType.GET_DOMAIN_PATH, request: SYNC, transaction: 0, payload: '0\0' })
    const all: Received[] = []
    for (;;) {
      all.push(...(await peer.receive(client)))
      if (all.at(-1)?.request === SYNC) return all.slice(0, -1)
    }
  }
  for (const [type, payload] of preparation) await exchange('host', { type, request: 0, transaction: 0, payload })
  for (const [i, { client, type, payload, transaction }] of operations.entries()) {
    const own = open[client]
    const id = transaction === 0 ? 0 : (own[(transaction - 1) % Math.max(1, own.length)] ?? 0)
    const received = await exchange(client, { type, request: i, transaction: id, payload })
    log.push(`${client} ${format({ type, request: i, transaction: id, payload })}`)
    for (const message of received) log.push(`  ${format(message)}`)
    const answer = received.find(({ request }) => request === i)
    if (answer?.type === MessageType.TRANSACTION_START) own.push(Number.parseInt(answer.payload, 10))
    // The end of a transaction, whatever its answer but for an argument that is none.
    if (type === MessageType.TRANSACTION_END && answer?.payload !== 'EINVAL\0' && own.includes(id))
      own.splice(own.indexOf(id), 1)
    if (type === MessageType.RESET_WATCHES && answer?.type === type) own.length = 0
  }
  return log
}

export const digest = (log: readonly string[]): string =>
  createHash('sha256').update(log.join('\n')).digest('hex').slice(0, 16)
