/**
 * What a domain may use of the store, with xenstored's limits and its way of counting. The privileged domain is
 * counted, but not limited.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import { StoreError } from './wire.ts'

/** xenstored's defaults (its --help, and CONTROL's `quota`). */
export const Quota = {
  /** Nodes that a domain owns. */
  NODES: 1000,
  /** Bytes of a node: header, permissions, value, names of children. */
  NODE_SIZE: 2048,
  WATCHES: 128,
  TRANSACTIONS: 10,
  /** Entries of a node's permissions. */
  PERMISSIONS: 5,
  /** Nodes that a transaction touches. */
  TRANSACTION_NODES: 1024,
  /** Requests whose answers, or whose events, have not been taken. */
  OUTSTANDING: 20,
  /** Bytes of nodes, transactions, watches and messages together. */
  MEMORY: 2.5 * 1024 * 1024,
} as const

/** An event that its receiver does not take for so long is dropped; nanoseconds. */
export const EVENT_TIMEOUT = 20e9

export class Account implements Stateful {
  readonly domain: number
  /** The store's generation when the domain appeared. */
  generation: number
  nodes = 0
  watches = 0
  outstanding = 0
  memory = 0

  constructor(domain: number, generation: number) {
    this.domain = domain
    this.generation = generation
  }

  transfer(state: Transfer): void {
    this.generation = state.field('generation', this.generation)
    this.nodes = state.field('nodes', this.nodes)
    this.watches = state.field('watches', this.watches)
    this.outstanding = state.field('outstanding', this.outstanding)
    this.memory = state.field('memory', this.memory)
  }

  get limited(): boolean {
    return this.domain !== 0
  }

  get full(): boolean {
    return this.limited && this.memory >= Quota.MEMORY
  }

  /** Use `bytes` more, or less; refused with ENOMEM beyond the quota if that is checked. */
  use(bytes: number, checked = false): void {
    if (checked && this.limited && this.memory + bytes >= Quota.MEMORY) throw new StoreError('ENOMEM')
    this.memory += bytes
  }
}

/** The domains that exist. */
export class Accounts implements Stateful {
  readonly #accounts = new Map<number, Account>()

  transfer(state: Transfer): void {
    state.parts('accounts', [...this.#accounts.values()])
  }

  add(domain: number, generation: number): Account {
    const account = new Account(domain, generation)
    this.#accounts.set(domain, account)
    return account
  }

  find(domain: number): Account | undefined {
    return this.#accounts.get(domain)
  }

  get(domain: number): Account {
    const account = this.#accounts.get(domain)
    if (!account) throw new StoreError('ENOMEM')
    return account
  }
}
