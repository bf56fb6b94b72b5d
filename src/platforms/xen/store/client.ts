/**
 * The store as domain 0 uses it: what builds the domain, and backends. Calls are done at once; whom a watch tells is
 * told after the request that caused the event, never within it.
 */
import { SnapshotError } from '../../../snapshot/error.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { Connection } from './connection.ts'
import type { StoreServer } from './server.ts'
import { HEADER_SIZE, MessageType, StoreError, type StoreErrno, strings, toBytes, toText } from './wire.ts'

export type Value = string | number

export class StoreClient implements Stateful {
  readonly #server: StoreServer
  readonly #connection: Connection
  readonly #listeners = new Map<string, (path: string) => void>()
  readonly #stop: () => void
  #transaction = 0
  #nextToken = 0
  #delivering = false

  constructor(server: StoreServer) {
    this.#server = server
    this.#connection = server.connect(0)
    this.#stop = server.onDone(() => this.#deliver())
  }

  /** Watches are set up anew, in the same order, by whoever has set them up: at the beginning, and for good. */
  transfer(state: Transfer): void {
    const { size } = this.#listeners
    if (state.field('listeners', size) !== size) throw new SnapshotError(`there are ${size} other listeners`)
    state.list('events', this.#events)
  }

  close(): void {
    this.#stop()
    this.#server.disconnect(this.#connection)
  }

  /** Undefined: no such node. */
  read(path: string): string | undefined {
    try {
      return this.#ask(MessageType.READ, `${path}\0`)
    } catch (error) {
      if (error instanceof StoreError && error.errno === 'ENOENT') return undefined
      throw error
    }
  }

  write(path: string, value: Value): void {
    this.#ask(MessageType.WRITE, `${path}\0${value}`)
  }

  mkdir(path: string): void {
    this.#ask(MessageType.MKDIR, `${path}\0`)
  }

  /** With all below it; nothing happens if it is not there. */
  remove(path: string): void {
    if (this.read(path) !== undefined) this.#ask(MessageType.RM, `${path}\0`)
  }

  /** Names of children; none if the node is not there. */
  list(path: string): string[] {
    return this.read(path) === undefined ? [] : strings(this.#ask(MessageType.DIRECTORY, `${path}\0`))
  }

  /** As `n0`, `r1`: the owner first. */
  setPermissions(path: string, permissions: readonly string[]): void {
    this.#ask(MessageType.SET_PERMS, `${path}\0${permissions.map((entry) => `${entry}\0`).join('')}`)
  }

  /** All that `body` does is seen at once. */
  transaction(body: () => void): void {
    this.#transaction = Number(strings(this.#ask(MessageType.TRANSACTION_START, '\0'))[0])
    let end = 'F'
    try {
      body()
      end = 'T'
    } finally {
      this.#ask(MessageType.TRANSACTION_END, `${end}\0`, () => (this.#transaction = 0))
    }
  }

  /** `listener` is told of changes at `path` and below, and once soon. Returns how to stop. */
  watch(path: string, listener: (path: string) => void): () => void {
    const token = String(this.#nextToken++)
    this.#listeners.set(token, listener)
    this.#ask(MessageType.WATCH, `${path}\0${token}\0`)
    return () => {
      if (this.#listeners.delete(token)) this.#ask(MessageType.UNWATCH, `${path}\0${token}\0`)
    }
  }

  /** The answer; events that wait before or after it are for the listeners. */
  #ask(type: number, payload: string, before?: () => void): string {
    const transaction = this.#transaction
    before?.()
    this.#server.handle(this.#connection, { type, request: 0, transaction, payload: toBytes(payload) })
    const answer = this.#take((found) => found !== MessageType.WATCH_EVENT)
    if (!answer) throw new Error('the store has not answered')
    if (this.#transaction === 0) this.#server.done()
    if (answer.type === MessageType.ERROR) throw new StoreError(answer.payload.slice(0, -1) as StoreErrno)
    return answer.payload
  }

  readonly #events: string[] = []

  /** Take messages until one is as wanted; events are kept. */
  #take(wanted: (type: number) => boolean): { type: number; payload: string } | undefined {
    for (;;) {
      const bytes = this.#connection.pending()
      if (!bytes) return undefined
      const type = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
      const payload = toText(bytes.subarray(HEADER_SIZE))
      this.#connection.take(bytes.length)
      if (wanted(type)) return { type, payload }
      this.#events.push(payload)
    }
  }

  #deliver(): void {
    if (this.#delivering) return
    this.#delivering = true
    try {
      for (;;) {
        this.#take(() => false)
        const event = this.#events.shift()
        if (event === undefined) return
        const [path = '', token = ''] = strings(event)
        this.#listeners.get(token)?.(path)
      }
    } finally {
      this.#delivering = false
    }
  }
}
