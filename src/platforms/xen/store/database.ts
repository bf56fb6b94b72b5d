/**
 * The tree as one connection sees it: the nodes, and over them the copies of its transaction. Every write gets a new
 * generation; a transaction can be committed if what it has read still has the generation that it had.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { Permission } from './permissions.ts'
import { type Account, type Accounts, Quota } from './quotas.ts'
import { StoreError } from './wire.ts'

export type StoreNode = {
  readonly generation: number
  readonly permissions: readonly Permission[]
  readonly data: Uint8Array
  /** Names, in the order of their creation. */
  readonly children: readonly string[]
}

/** Who reads and writes. */
export interface Actor {
  readonly account: Account
  readonly privileged: boolean
  readonly transaction: Transaction | undefined
}

/** What a transaction knows of a node. */
type Touched = {
  /** Its own copy; undefined: no such node. */
  node: StoreNode | undefined
  /** Generation when it was first seen, undefined: there was none. */
  readonly generation: number | undefined
  /** It was read, so it must not have changed. */
  readonly check: boolean
  /** Permissions when it was first seen. */
  readonly permissions: readonly Permission[] | undefined
  modified: boolean
  event: 'none' | 'exact' | 'tree'
}

export class Transaction implements Stateful {
  readonly id: number
  readonly generation: number
  readonly touched = new Map<string, Touched>()
  /** By how much the numbers of nodes that domains own will change. */
  readonly nodes = new Map<number, number>()
  createdNodes = false
  failed = false

  constructor(id: number, generation: number) {
    this.id = id
    this.generation = generation
  }

  transfer(state: Transfer): void {
    state.map('touched', this.touched)
    state.map('nodes', this.nodes)
    this.createdNodes = state.field('createdNodes', this.createdNodes)
    this.failed = state.field('failed', this.failed)
  }
}

/** struct xs_tdb_record_hdr and an entry of permissions: sizes count towards quotas. */
const HEADER = 24
const PERMISSION = 8

export const childrenLength = (children: readonly string[]): number =>
  children.reduce((sum, name) => sum + name.length + 1, 0)
const sizeOf = ({ permissions, data, children }: StoreNode): number =>
  HEADER + PERMISSION * permissions.length + data.length + childrenLength(children)
const ownerOf = (node: StoreNode): number => (node.permissions[0] as Permission).domain

export class Database implements Stateful {
  #generation = 0
  readonly #nodes = new Map<string, StoreNode>()
  readonly #accounts: Accounts
  readonly #onDirectWrite: (actor: Actor) => void

  /** `onDirectWrite` is told of every write outside transactions. */
  constructor(accounts: Accounts, onDirectWrite: (actor: Actor) => void = () => {}) {
    this.#accounts = accounts
    this.#onDirectWrite = onDirectWrite
  }

  transfer(state: Transfer): void {
    this.#generation = state.field('generation', this.#generation)
    state.map('nodes', this.#nodes)
  }

  get generation(): number {
    return this.#generation
  }

  nextGeneration(): number {
    return ++this.#generation
  }

  /** Throws ENOSPC if the actor's transaction has touched too much. */
  read(actor: Actor | undefined, path: string): StoreNode | undefined {
    const { transaction } = actor ?? {}
    const seen = transaction?.touched.get(path)
    if (seen) return seen.node && this.#withoutStrangers(seen.node)
    const found = this.#nodes.get(path)
    const node = found && this.#withoutStrangers(found)
    if (actor && transaction) {
      this.#touch(actor, transaction, path, node, true)
      if (node) this.#useCopy(actor, transaction, path, undefined, node)
    }
    return node
  }

  /** Write a node, as it is but for the generation. Within a transaction a failure fails that, too. */
  write(actor: Actor, path: string, content: Omit<StoreNode, 'generation'>, checked = true): StoreNode {
    const node = { ...content, generation: this.nextGeneration() }
    const { transaction } = actor
    if (!transaction) this.#onDirectWrite(actor)
    const entry = transaction && this.#touchForWrite(actor, transaction, path)
    try {
      if (checked && !actor.privileged && sizeOf(node) >= Quota.NODE_SIZE) throw new StoreError('ENOSPC')
      if (transaction && entry) {
        this.#useCopy(actor, transaction, path, entry.node, node, checked)
        entry.node = node
      } else this.#put(path, node, checked)
    } catch (error) {
      if (transaction) transaction.failed = true
      throw error
    }
    return node
  }

  delete(actor: Actor, path: string): void {
    this.nextGeneration()
    const { transaction } = actor
    if (!transaction) {
      this.#onDirectWrite(actor)
      return this.#remove(path)
    }
    const entry = this.#touchForWrite(actor, transaction, path)
    if (entry.node) this.#useCopy(actor, transaction, path, entry.node, undefined)
    entry.node = undefined
  }

  /** Count a node that `domain` owns from now on (1), or no more (-1). */
  count({ transaction }: Actor, domain: number, change: number): void {
    if (transaction) transaction.nodes.set(domain, (transaction.nodes.get(domain) ?? 0) + change)
    else this.#accounts.get(domain).nodes += change
  }

  /** Throws ENOMEM, ENOSPC or EAGAIN. `fire` is told of each change in turn. */
  commit(
    actor: Actor,
    transaction: Transaction,
    fire: (path: string, exact: boolean, permissions: readonly Permission[] | undefined) => void,
  ): void {
    if (transaction.failed) throw new StoreError('ENOMEM')
    for (const [domain, change] of transaction.nodes) {
      const count = this.#accounts.get(domain).nodes + change
      if (transaction.createdNodes && !actor.privileged && domain !== 0 && count >= Quota.NODES)
        throw new StoreError('ENOSPC')
    }
    for (const [path, { check, generation }] of transaction.touched)
      if (check && this.#nodes.get(path)?.generation !== generation) throw new StoreError('EAGAIN')
    for (const [path, { modified, node, event, permissions }] of transaction.touched) {
      if (!modified) continue
      if (node) this.#put(path, { ...node, generation: this.nextGeneration() }, false)
      else this.#remove(path)
      if (event !== 'none') fire(path, event === 'exact', permissions)
    }
    for (const [domain, change] of transaction.nodes) this.#accounts.get(domain).nodes += change
  }

  /** Its copies are no longer kept. */
  forget(actor: Actor, transaction: Transaction): void {
    for (const [path, { node }] of transaction.touched)
      if (node) this.#useCopy(actor, transaction, path, node, undefined)
    transaction.touched.clear()
  }

  #put(path: string, node: StoreNode, checked: boolean): void {
    const old = this.#nodes.get(path)
    const before = old ? this.#accounts.find(ownerOf(old)) : undefined
    const size = old ? path.length + sizeOf(old) : 0
    before?.use(-size)
    try {
      this.#accounts.get(ownerOf(node)).use(path.length + sizeOf(node), checked)
    } catch (error) {
      before?.use(size)
      throw error
    }
    this.#nodes.set(path, node)
  }

  #remove(path: string): void {
    const old = this.#nodes.get(path)
    if (!old) return
    this.#accounts.find(ownerOf(old))?.use(-path.length - sizeOf(old))
    this.#nodes.delete(path)
  }

  /** Copies are paid by whoever has the transaction. */
  #useCopy(
    { account }: Actor,
    { generation }: Transaction,
    path: string,
    from: StoreNode | undefined,
    to: StoreNode | undefined,
    checked = false,
  ): void {
    const key = String(generation).length + 1 + path.length
    account.use((to ? key + sizeOf(to) : 0) - (from ? key + sizeOf(from) : 0), checked)
  }

  #touch(actor: Actor, transaction: Transaction, path: string, node: StoreNode | undefined, check: boolean): Touched {
    if (transaction.touched.size >= Quota.TRANSACTION_NODES && !actor.privileged) {
      transaction.failed = true
      throw new StoreError('ENOSPC')
    }
    const entry: Touched = {
      node: check ? node : undefined,
      generation: node?.generation,
      check,
      permissions: node?.permissions,
      modified: false,
      event: 'none',
    }
    transaction.touched.set(path, entry)
    return entry
  }

  #touchForWrite(actor: Actor, transaction: Transaction, path: string): Touched {
    const entry = transaction.touched.get(path) ?? this.#touch(actor, transaction, path, undefined, false)
    entry.modified = true
    return entry
  }

  /** Marks permissions of domains that are gone, so that a later one of the same number does not have them. */
  #withoutStrangers(node: StoreNode): StoreNode {
    const isStranger = ({ domain, ignored }: Permission, index: number) => {
      if (index === 0 || ignored) return false
      const account = this.#accounts.find(domain)
      return !account || account.generation > node.generation
    }
    if (!node.permissions.some(isStranger)) return node
    return {
      ...node,
      permissions: node.permissions.map((entry, i) => (isStranger(entry, i) ? { ...entry, ignored: true } : entry)),
    }
  }
}
