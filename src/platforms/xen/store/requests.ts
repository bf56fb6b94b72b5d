/**
 * The requests that a client can make of the store, each a row: what it does (`declarations.ts` says what it is called).
 * Handlers return the answer's payload, or throw the StoreError that is the answer (xenstore.txt).
 */
import type { Connection, Watch } from './connection.ts'
import { childrenLength, Transaction } from './database.ts'
import { absolute, homeOf, isValidPath, parentOf } from './paths.ts'
import { Access, formatPermission, parsePermission } from './permissions.ts'
import { type Accounts, Quota } from './quotas.ts'
import { eventPath, type Tree } from './tree.ts'
import { atoi, MessageType, onlyString, PAYLOAD_MAX, StoreError, strings, toBytes } from './wire.ts'

export interface Context {
  readonly tree: Tree
  readonly accounts: Accounts
  /** A write that may make others' transactions fail. */
  readonly charge: (by: Connection) => void
}

export interface StoreRequest {
  readonly type: number
  /** Only domain 0 may; others get EACCES. The host does these things itself, not by messages. */
  readonly privileged?: true
  /** Its transaction id is not looked at. */
  readonly noTransaction?: true
  readonly handle?: (by: Connection, payload: string, context: Context) => string | Uint8Array
}

const OK = 'OK\0'

const pathOf = (by: Connection, text: string): string => absolute(text, by.home)

function read(by: Connection, payload: string, { tree }: Context): Uint8Array {
  return tree.get(by, pathOf(by, onlyString(payload)), Access.READ).data
}

function directory(by: Connection, payload: string, { tree }: Context): string {
  const { children } = tree.get(by, pathOf(by, onlyString(payload)), Access.READ)
  return children.map((name) => `${name}\0`).join('')
}

/** The list of children in pieces of a message's size, with the generation that says whether they belong together. */
function directoryPart(by: Connection, payload: string, { tree }: Context): string {
  const [path = '', offset = '', ...others] = payload.split('\0')
  if (others.length !== 1) throw new StoreError('EINVAL')
  const { children, generation } = tree.get(by, pathOf(by, path), Access.READ)
  const head = `${generation}\0`
  const total = childrenLength(children)
  const from = atoi(offset)
  if (from >= total) return `${head}\0`
  const list = children
    .map((name) => `${name}\0`)
    .join('')
    .slice(from)
  const room = PAYLOAD_MAX - head.length - 1
  let length = 0
  while (length < list.length) {
    const next = list.indexOf('\0', length) + 1
    if (next - 1 >= room) break
    length = next
  }
  return head + list.slice(0, length) + (length === list.length ? '\0' : '')
}

function write(by: Connection, payload: string, { tree }: Context): string {
  const end = payload.indexOf('\0')
  if (end < 0) throw new StoreError('EINVAL')
  const path = pathOf(by, payload.slice(0, end))
  const data = toBytes(payload.slice(end + 1))
  const node = tree.lookup(by, path, Access.WRITE)
  if (!node) tree.create(by, path, data)
  else {
    tree.database.write(by, path, { ...node, data })
    tree.fire(by, path, false)
  }
  return OK
}

function mkdir(by: Connection, payload: string, { tree }: Context): string {
  const path = pathOf(by, onlyString(payload))
  if (!tree.lookup(by, path, Access.WRITE)) tree.create(by, path, new Uint8Array())
  return OK
}

function rm(by: Connection, payload: string, { tree }: Context): string {
  const path = pathOf(by, onlyString(payload))
  const node = tree.lookup(by, path, Access.WRITE)
  if (!node && !tree.database.read(by, parentOf(path))) throw new StoreError('ENOENT')
  if (!node) return OK
  if (path === '/') throw new StoreError('EINVAL')
  tree.remove(by, path)
  return OK
}

function getPermissions(by: Connection, payload: string, { tree }: Context): string {
  const { permissions } = tree.get(by, pathOf(by, onlyString(payload)), Access.READ)
  return permissions.map((entry) => `${formatPermission(entry)}\0`).join('')
}

function setPermissions(by: Connection, payload: string, { tree, accounts }: Context): string {
  const [given = '', ...entries] = strings(payload)
  if (entries.length === 0) throw new StoreError('EINVAL')
  if (!by.privileged && entries.length > Quota.PERMISSIONS) throw new StoreError('ENOSPC')
  const permissions = entries.map((text) => {
    const entry = parsePermission(text)
    return accounts.find(entry.domain) ? entry : { ...entry, ignored: true }
  })
  const [owner] = permissions
  if (!owner || owner.ignored) throw new StoreError('ENOENT')
  if (given.startsWith('@')) {
    tree.setSpecialPermissions(by, given, permissions)
    return OK
  }
  const path = pathOf(by, given)
  const node = tree.get(by, path, Access.WRITE | Access.OWNER)
  const before = node.permissions[0]
  if (!by.privileged && owner.domain !== before?.domain) throw new StoreError('EPERM')
  tree.database.write(by, path, { ...node, permissions })
  if (before && before.domain !== owner.domain) {
    tree.database.count(by, before.domain, -1)
    tree.database.count(by, owner.domain, 1)
  }
  tree.fire(by, path, false, node.permissions)
  return OK
}

function watchArguments(payload: string): [path: string, token: string] {
  const [path, token, ...others] = strings(payload)
  if (path === undefined || token === undefined || others.length > 0) throw new StoreError('EINVAL')
  return [path, token]
}

/** Returns the watch for its first event, which follows the answer. */
export function addWatch(by: Connection, payload: string): Watch {
  const [given, token] = watchArguments(payload)
  const special = given.startsWith('@')
  const path = pathOf(by, given)
  if (special ? given.length > 2048 : !isValidPath(path)) throw new StoreError('EINVAL')
  if (by.watches.some((watch) => watch.path === path && watch.token === token)) throw new StoreError('EEXIST')
  if (!by.privileged && by.account.watches > Quota.WATCHES) throw new StoreError('E2BIG')
  const watch = { path, token, relative: !special && !given.startsWith('/') }
  by.addWatch(watch)
  return watch
}

export const firstEvent = (by: Connection, watch: Watch): void =>
  by.event(eventPath(by, watch, watch.path), watch.token, undefined)

function unwatch(by: Connection, payload: string): string {
  const [path, token] = watchArguments(payload)
  if (!by.deleteWatch(pathOf(by, path), token)) throw new StoreError('ENOENT')
  return OK
}

export function resetConnection(by: Connection, { tree }: Context): void {
  by.deleteWatches()
  for (const transaction of by.transactions.values()) tree.database.forget(by, transaction)
  by.transactions.clear()
}

function startTransaction(by: Connection, _payload: string, { tree }: Context): string {
  if (by.transaction) throw new StoreError('EBUSY')
  if (!by.privileged && by.transactions.size > Quota.TRANSACTIONS) throw new StoreError('ENOSPC')
  const generation = tree.database.nextGeneration()
  return `${by.addTransaction((id) => new Transaction(id, generation)).id}\0`
}

function endTransaction(by: Connection, payload: string, { tree, charge }: Context): string {
  const commit = onlyString(payload)
  if (commit !== 'T' && commit !== 'F') throw new StoreError('EINVAL')
  const { transaction } = by
  if (!transaction) throw new StoreError('ENOENT')
  by.transaction = undefined
  by.transactions.delete(transaction.id)
  try {
    if (commit === 'T') {
      tree.database.commit(by, transaction, (path, exact, permissions) => tree.fire(by, path, exact, permissions))
      charge(by)
    }
  } finally {
    tree.database.forget(by, transaction)
  }
  return OK
}

const T = MessageType

export const storeRequests: readonly StoreRequest[] = [
  { type: T.CONTROL, privileged: true },
  { type: T.DIRECTORY, handle: directory },
  { type: T.READ, handle: read },
  { type: T.GET_PERMS, handle: getPermissions },
  // Its first event follows the answer; so the server does it.
  { type: T.WATCH, noTransaction: true },
  { type: T.UNWATCH, noTransaction: true, handle: unwatch },
  { type: T.TRANSACTION_START, handle: startTransaction },
  { type: T.TRANSACTION_END, handle: endTransaction },
  { type: T.INTRODUCE, privileged: true },
  { type: T.RELEASE, privileged: true },
  {
    type: T.GET_DOMAIN_PATH,
    handle: (_, payload) => `${homeOf(atoi(onlyString(payload)))}\0`,
  },
  { type: T.WRITE, handle: write },
  { type: T.MKDIR, handle: mkdir },
  { type: T.RM, handle: rm },
  { type: T.SET_PERMS, handle: setPermissions },
  { type: T.IS_DOMAIN_INTRODUCED, privileged: true },
  { type: T.RESUME, privileged: true },
  { type: T.SET_TARGET, privileged: true },
  {
    type: T.RESET_WATCHES,
    handle: (by, _, context) => {
      resetConnection(by, context)
      return OK
    },
  },
  { type: T.DIRECTORY_PART, handle: directoryPart },
]

/** Answers are bytes; a long one is E2BIG. */
export function answer(result: string | Uint8Array): Uint8Array {
  if (result.length > PAYLOAD_MAX) throw new StoreError('E2BIG')
  return typeof result === 'string' ? toBytes(result) : result
}
