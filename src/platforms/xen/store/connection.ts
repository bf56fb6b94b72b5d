/**
 * A client of the store: a domain through its ring, or the host's own (domain 0). It has watches, open transactions,
 * and messages that wait to be taken.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { Transaction } from './database.ts'
import { homeOf } from './paths.ts'
import { type Account, EVENT_TIMEOUT } from './quotas.ts'
import type { WriteRate } from './rate.ts'
import { encodeMessage, HEADER_SIZE, type Message, MessageType, PAYLOAD_MAX, toBytes } from './wire.ts'

export type Watch = {
  /** Absolute, or special. */
  readonly path: string
  readonly token: string
  readonly relative: boolean
}

/** A request stays outstanding until its answer and all events that it caused have been taken. */
export class Outstanding implements Stateful {
  readonly account: Account
  #waiting = 0

  constructor(account: Account) {
    this.account = account
  }

  transfer(state: Transfer): void {
    this.#waiting = state.field('waiting', this.#waiting)
  }

  hold(): void {
    if (this.#waiting++ === 0) this.account.outstanding++
  }

  release(): void {
    if (--this.#waiting === 0) this.account.outstanding--
  }
}

interface Outgoing {
  readonly type: number
  readonly payload: string | Uint8Array
  readonly bytes: Uint8Array
  readonly cause: Outstanding | undefined
  /** Infinity: it is kept. */
  readonly expires: number
}

export class Connection {
  readonly account: Account
  readonly home: string
  readonly watches: Watch[] = []
  readonly transactions = new Map<number, Transaction>()
  /** That of the request being done. */
  transaction: Transaction | undefined
  /** The domain broke the protocol: nothing is taken from it or given to it any more. */
  ignored = false
  /** How fast it may write; undefined: as fast as it likes. */
  readonly rate: WriteRate | undefined
  readonly #now: () => number
  readonly #out: Outgoing[] = []
  /** Events among them, which are not doubled. */
  readonly #events = new Set<string>()
  #taken = 0
  #current: Outstanding | undefined
  #nextTransaction = 1

  constructor(account: Account, now: () => number, rate?: WriteRate) {
    this.account = account
    this.rate = rate
    this.home = homeOf(account.domain)
    this.#now = now
  }

  /** Requests that messages here are of. */
  get causes(): Outstanding[] {
    return this.#out.flatMap(({ cause }) => cause ?? [])
  }

  /** `causes`: those of all connections; messages of several may be of one. */
  transfer(state: Transfer, causes: readonly Outstanding[]): void {
    state.list('watches', this.watches)
    const ids = [...this.transactions.values()].map(({ id, generation }) => ({ id, generation }))
    state.list('transactions', ids)
    if (state.loading) {
      this.transactions.clear()
      for (const { id, generation } of ids) this.transactions.set(id, new Transaction(id, generation))
    }
    state.parts('contents', [...this.transactions.values()])
    this.ignored = state.field('ignored', this.ignored)
    if (this.rate) state.part('rate', this.rate)
    const messages = this.#out.map((each) => ({ ...each, cause: each.cause ? causes.indexOf(each.cause) : -1 }))
    state.list('messages', messages)
    if (state.loading) {
      const made = messages.map((each) => ({ ...each, cause: causes[each.cause] }))
      this.#out.splice(0, Infinity, ...made)
      this.#events.clear()
      for (const { type, payload } of made) if (type === MessageType.WATCH_EVENT) this.#events.add(payload as string)
    }
    this.#taken = state.field('taken', this.#taken)
    this.#nextTransaction = state.field('nextTransaction', this.#nextTransaction)
  }

  get privileged(): boolean {
    return !this.account.limited
  }

  /** A request begins: what it causes counts as its own. */
  begin(): void {
    this.#current = new Outstanding(this.account)
    this.#current.hold()
  }

  reply(message: Message): void {
    this.account.use(HEADER_SIZE + message.payload.length)
    this.#out.push({
      type: message.type,
      payload: message.payload,
      bytes: encodeMessage(message),
      cause: this.#current,
      expires: Infinity,
    })
    this.#current = undefined
  }

  /** An event for a watch of this client, caused by a request of `by`, if of any. Dropped where there is no room. */
  event(path: string, token: string, by: Connection | undefined): void {
    const payload = `${path}\0${token}\0`
    if (payload.length > PAYLOAD_MAX) return
    if (!path.startsWith('@') && this.#events.has(payload)) return
    const size = HEADER_SIZE + payload.length
    try {
      this.account.use(size, true)
    } catch {
      return
    }
    const cause = by?.account.limited ? by.#current : undefined
    cause?.hold()
    this.#events.add(payload)
    this.#out.push({
      type: MessageType.WATCH_EVENT,
      payload,
      bytes: encodeMessage({
        type: MessageType.WATCH_EVENT,
        request: 0,
        transaction: 0,
        payload: toBytes(payload),
      }),
      cause,
      expires: this.account.limited ? this.#now() + EVENT_TIMEOUT : Infinity,
    })
  }

  /** What is left of the first message that waits. */
  pending(): Uint8Array | undefined {
    for (;;) {
      const first = this.#out[0]
      if (!first || this.#taken > 0 || first.expires > this.#now()) return first?.bytes.subarray(this.#taken)
      this.#drop()
    }
  }

  /** So many bytes of it have been taken. */
  take(count: number): void {
    this.#taken += count
    if (this.#taken === this.#out[0]?.bytes.length) this.#drop()
  }

  addTransaction(make: (id: number) => Transaction): Transaction {
    let id: number
    do {
      id = this.#nextTransaction
      this.#nextTransaction = (id + 1) >>> 0
    } while (id === 0 || this.transactions.has(id))
    const transaction = make(id)
    this.transactions.set(id, transaction)
    return transaction
  }

  addWatch(watch: Watch): void {
    this.account.use(watch.path.length + watch.token.length, true)
    this.account.watches++
    this.watches.push(watch)
  }

  /** False: it has no such watch. */
  deleteWatch(path: string, token: string): boolean {
    const index = this.watches.findIndex((watch) => watch.path === path && watch.token === token)
    if (index < 0) return false
    this.watches.splice(index, 1)
    this.account.watches--
    this.account.use(-path.length - token.length)
    return true
  }

  deleteWatches(): void {
    for (const { path, token } of this.watches.slice()) this.deleteWatch(path, token)
  }

  deleteMessages(): void {
    while (this.#out.length > 0) this.#drop()
  }

  #drop(): void {
    const message = this.#out.shift()
    this.#taken = 0
    if (!message) return
    if (message.type === MessageType.WATCH_EVENT) this.#events.delete(message.payload as string)
    this.account.use(-message.bytes.length)
    message.cause?.release()
  }
}
