/**
 * Seeded sequences of xenstore requests by domain 0 and a guest: the same ones are played to our server and to
 * xenstored, and what each client gets is compared.
 */
import { MessageType } from '../../src/platforms/xen/store/wire.ts'

export const clients = ['host', 'guest'] as const
export type ClientName = (typeof clients)[number]

export interface Operation {
  readonly client: ClientName
  readonly type: number
  /** One character for each byte. */
  readonly payload: string
  /** Which of the client's transactions that are open; 0: none. */
  readonly transaction: number
}

/** Numbers below a limit (mulberry32): the same seed gives the same ones everywhere. */
function numbers(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const T = MessageType
/** Frequent ones more than once. CONTROL and what changes domains are the toolstack's. */
const types = [
  ...Array.from({ length: 8 }, () => [T.WRITE, T.READ, T.MKDIR, T.RM, T.DIRECTORY] as const).flat(),
  ...Array.from({ length: 4 }, () => [T.WATCH, T.TRANSACTION_START, T.TRANSACTION_END, T.SET_PERMS] as const).flat(),
  T.GET_PERMS,
  T.GET_PERMS,
  T.UNWATCH,
  T.UNWATCH,
  T.DIRECTORY_PART,
  T.GET_DOMAIN_PATH,
  T.WATCH_EVENT,
  T.ERROR,
  T.RESET_WATCHES,
  20,
  23,
  0xffff,
]
/** Without their path these are answered whatever errno was left from before. */
const pathOnly = new Set<number>([T.READ, T.MKDIR, T.RM, T.DIRECTORY, T.GET_PERMS])
const names = ['a', 'b', 'c', 'x-y_z@9']
const roots = ['', '/local', '/local/domain/1', '/local/domain/1/data', '/shared']
const odd = ['', '/', '//', '/a/', '/a//b', '/a b', '/é', `/${'n'.repeat(2047)}`, `/${'n'.repeat(2048)}`]
const special = ['@introduceDomain', '@releaseDomain', '@other', 'data', 'data/a']
const permissions = ['n0', 'r0', 'w0', 'b0', 'n1', 'r1', 'b1', 'w1', 'r7', 'n07', 'x1', 'r', 'r1x', 'r-1', 'b0x1']

export function operations(seed: number, count: number): Operation[] {
  const pick = numbers(seed)
  const one = <Value>(values: readonly Value[]): Value => values[pick(values.length)] as Value
  const path = () => {
    if (pick(25) === 0) return one(odd)
    if (pick(15) === 0) return one(special)
    const absolute = one(roots) + Array.from({ length: pick(3) }, () => `/${one(names)}`).join('')
    return pick(6) === 0 ? absolute.slice(1) : absolute || '/'
  }
  const value = () =>
    String.fromCharCode(...Array.from({ length: pick(30) === 0 ? 1990 + pick(40) : pick(12) }, () => pick(256)))
  const payloads: Partial<Record<number, () => string>> = {
    [T.WRITE]: () => `${path()}\0${value()}`,
    [T.SET_PERMS]: () =>
      `${path()}\0${Array.from({ length: 1 + pick(pick(8) === 0 ? 7 : 3) }, () => `${one(permissions)}\0`).join('')}`,
    [T.WATCH]: () => `${path()}\0t${pick(3)}\0`,
    [T.UNWATCH]: () => `${path()}\0t${pick(3)}\0`,
    [T.TRANSACTION_START]: () => '\0',
    [T.TRANSACTION_END]: () => one(['T\0', 'T\0', 'T\0', 'T\0', 'F\0', 'X\0']),
    [T.DIRECTORY_PART]: () => `${path()}\0${pick(8)}\0`,
    [T.GET_DOMAIN_PATH]: () => `${one(['7', '-1', 'x', ' 12z', '70000'])}\0`,
    [T.RESET_WATCHES]: () => '\0',
  }
  return Array.from({ length: count }, () => {
    const client = pick(3) === 0 ? 'host' : 'guest'
    const drawn = one(types)
    const text = (payloads[drawn] ?? (() => `${path()}\0`))()
    // Refused permissions of special paths are answered whatever errno was left from before.
    const refused = drawn === T.SET_PERMS && text.startsWith('@') && (client === 'guest' || text.startsWith('@o'))
    const type = refused ? T.GET_PERMS : drawn
    const whole = refused ? text.slice(0, text.indexOf('\0') + 1) : text
    const payload = pick(40) === 0 && !pathOnly.has(type) ? whole.slice(0, pick(whole.length + 1)) : whole
    // Within a transaction RESET_WATCHES ends xenstored 4.17.
    const inside = type !== T.RESET_WATCHES && (type === T.TRANSACTION_END || pick(2) === 0)
    const transaction = inside ? pick(3) : 0
    return { client, type, payload, transaction }
  })
}
