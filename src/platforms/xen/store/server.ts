/**
 * Xenstore's server, as xenstored 4.17 behaves: it holds the tree, does requests in the order of their arrival, and
 * keeps for every connection what is to be sent. How bytes come and go is the business of `ring.ts` and `client.ts`.
 */
import type { RingWatch } from '../../../paravirt/observe.ts'
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { Connection, Outstanding } from './connection.ts'
import { Database } from './database.ts'
import { storeDeclarations, storeValues, unknownMessage } from './declarations.ts'
import { Access } from './permissions.ts'
import { Accounts, Quota } from './quotas.ts'
import { WriteRate } from './rate.ts'
import { addWatch, answer, type Context, firstEvent, resetConnection, storeRequests } from './requests.ts'
import { type SpecialPath, Tree } from './tree.ts'
import { type Message, MessageType, type StoreErrno, StoreError, toBytes, toText } from './wire.ts'

const declarations = new Map(storeDeclarations.map((each) => [each.number, each]))
const byType = new Map(storeRequests.map((request) => [request.type, request]))
/** Domain 0 and the guest. */
const DOMAINS = 2

export class StoreServer implements Stateful {
  readonly #accounts = new Accounts()
  readonly #connections = new Set<Connection>()
  readonly #context: Context
  readonly #now: () => number
  readonly #rings: RingWatch | undefined
  /** The host's own clients look at their events after each request. */
  readonly #afterwards = new Set<() => void>()

  /** `now` in nanoseconds; `rings` are told of guests' requests. */
  constructor(now: () => number, rings?: RingWatch) {
    this.#now = now
    this.#rings = rings
    const charge = (by: Connection) => {
      for (const { transactions } of this.#connections) if (transactions.size > 0) return by.rate?.charge()
    }
    const database = new Database(this.#accounts, (by) => charge(by as Connection))
    this.#context = { tree: new Tree(database, this.#connections), accounts: this.#accounts, charge }
    this.#accounts.add(0, 0)
    const host = this.connect(0)
    const permissions = [{ domain: 0, access: Access.NONE }]
    for (const [path, children] of [
      ['/', ['tool']],
      ['/tool', ['xenstored']],
      ['/tool/xenstored', []],
    ] as const) {
      database.write(host, path, { permissions, data: new Uint8Array(), children })
      database.count(host, 0, 1)
    }
    this.disconnect(host)
  }

  /** Between requests. Clients are the same ones, in the order in which they have connected. */
  transfer(state: Transfer): void {
    state.part('accounts', this.#accounts)
    state.part('tree', this.#context.tree)
    const causes = [...new Set([...this.#connections].flatMap((connection) => connection.causes))]
    const domains = causes.map(({ account }) => account.domain)
    state.list('causes', domains)
    if (state.loading)
      causes.splice(0, Infinity, ...domains.map((domain) => new Outstanding(this.#accounts.get(domain))))
    state.parts('requests', causes)
    state.parts(
      'connections',
      [...this.#connections].map((each) => ({ transfer: (inner: Transfer) => each.transfer(inner, causes) })),
    )
  }

  /** A client of a domain. */
  connect(domain: number): Connection {
    const account = this.#accounts.find(domain) ?? this.#accounts.add(domain, this.#context.tree.database.generation)
    const connection = new Connection(account, this.#now, domain === 0 ? undefined : new WriteRate(this.#now, DOMAINS))
    this.#connections.add(connection)
    return connection
  }

  disconnect(connection: Connection): void {
    this.#connections.delete(connection)
    this.#clear(connection)
  }

  /** It has broken the protocol: nothing is kept for it any more. */
  ignore(connection: Connection): void {
    connection.ignored = true
    this.#clear(connection)
  }

  /** Whether a request of this client would be looked at now; `later`: when to ask again, if time helps. */
  ready({ ignored, privileged, account, rate }: Connection, later: (at: number) => void): boolean {
    if (ignored) return false
    if (privileged) return true
    if (account.outstanding >= Quota.OUTSTANDING || account.full) return false
    const at = rate?.ready() ?? 0
    if (at <= this.#now()) return true
    later(at)
    return false
  }

  /** Do a request; its answer, and events that it causes, wait in the connections. */
  handle(by: Connection, message: Message): void {
    const { type, request, transaction } = message
    const text = toText(message.payload)
    const declared = declarations.get(type) ?? unknownMessage
    const values = (answered?: string) =>
      declared === unknownMessage
        ? [BigInt(transaction), BigInt(type)]
        : storeValues(declared, transaction, text, answered)
    by.begin()
    const reply = (replyType: number, bytes: Uint8Array) => {
      by.reply({ type: replyType, request, transaction, payload: bytes })
      if (by.privileged) return
      const error = replyType === MessageType.ERROR ? toText(bytes).slice(0, -1) : undefined
      this.#rings?.note(declared, () => values(error === undefined ? toText(bytes) : undefined), error ?? 0n)
    }
    try {
      const refused = by.privileged ? undefined : this.#rings?.refusal(declared, values)
      if (refused !== undefined) throw new StoreError(refused as StoreErrno)
      this.#do(by, type, transaction, text, reply)
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      reply(MessageType.ERROR, toBytes(`${error.errno}\0`))
    } finally {
      by.transaction = undefined
    }
  }

  /** Throws StoreError. */
  #do(
    by: Connection,
    type: number,
    transaction: number,
    text: string,
    reply: (type: number, bytes: Uint8Array) => void,
  ): void {
    const declared = byType.get(type)
    if (!declared) throw new StoreError('ENOSYS')
    if (declared.privileged && !by.privileged) throw new StoreError('EACCES')
    if (type === MessageType.WATCH) {
      const watch = addWatch(by, text)
      reply(type, toBytes('OK\0'))
      firstEvent(by, watch)
      return
    }
    if (!declared.handle) throw new StoreError('ENOSYS')
    if (transaction !== 0 && !declared.noTransaction) {
      by.transaction = by.transactions.get(transaction)
      if (!by.transaction) throw new StoreError('ENOENT')
    }
    reply(type, answer(declared.handle(by, text, this.#context)))
  }

  /** Call `listener` whenever requests have been done; returns how to stop. */
  onDone(listener: () => void): () => void {
    this.#afterwards.add(listener)
    return () => this.#afterwards.delete(listener)
  }

  /** Requests have been done: let the host's clients look. */
  done(): void {
    for (const listener of this.#afterwards) listener()
  }

  fireSpecial(path: SpecialPath): void {
    this.#context.tree.fireSpecial(path)
    this.done()
  }

  #clear(connection: Connection): void {
    resetConnection(connection, this.#context)
    connection.deleteMessages()
  }
}
