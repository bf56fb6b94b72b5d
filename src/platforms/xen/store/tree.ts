/**
 * What can be done to the tree: look a node up, make one with the parents that it lacks, remove one with all below it.
 * Permissions and watches are honoured here.
 */
import type { Stateful, Transfer } from '../../../snapshot/stateful.ts'
import type { Connection } from './connection.ts'
import type { Database, StoreNode } from './database.ts'
import { childOf, isValidPath, isWithin, nameOf, parentOf } from './paths.ts'
import { Access, accessOf, type Permission } from './permissions.ts'
import { Quota } from './quotas.ts'
import { StoreError } from './wire.ts'

const specialPaths = ['@introduceDomain', '@releaseDomain'] as const
export type SpecialPath = (typeof specialPaths)[number]
const DOMAIN_0_ONLY: readonly Permission[] = [{ domain: 0, access: Access.NONE }]

export class Tree implements Stateful {
  readonly database: Database
  readonly #connections: ReadonlySet<Connection>
  readonly #special = new Map<string, readonly Permission[]>(specialPaths.map((path) => [path, DOMAIN_0_ONLY]))

  constructor(database: Database, connections: ReadonlySet<Connection>) {
    this.database = database
    this.#connections = connections
  }

  transfer(state: Transfer): void {
    state.part('database', this.database)
    state.map('special', this.#special)
  }

  /** The node at a path; undefined where there is none. Throws EINVAL, EACCES or ENOSPC. */
  lookup(by: Connection, path: string, access: number): StoreNode | undefined {
    if (!isValidPath(path)) throw new StoreError('EINVAL')
    const node = this.database.read(by, path)
    if (node && (allowed(by, node.permissions) & access) === access) return node
    // Whoever may not do this with the parent learns nothing about the node.
    if (!(this.#nearest(by, path) & access)) throw new StoreError('EACCES')
    if (node) throw new StoreError('EACCES')
    return undefined
  }

  /** As `lookup`, but throws ENOENT. */
  get(by: Connection, path: string, access: number): StoreNode {
    const node = this.lookup(by, path, access)
    if (!node) throw new StoreError('ENOENT')
    return node
  }

  create(by: Connection, path: string, data: Uint8Array): void {
    const missing = [path]
    let above = parentOf(path)
    let parent = this.database.read(by, above)
    while (!parent) {
      missing.push(above)
      above = parentOf(above)
      parent = this.database.read(by, above)
    }
    if (by.transaction) by.transaction.createdNodes = true
    // Permissions are inherited; guests own what they make.
    const permissions = by.privileged
      ? parent.permissions
      : [{ ...(parent.permissions[0] as Permission), domain: by.account.domain }, ...parent.permissions.slice(1)]
    const owner = (permissions[0] as Permission).domain
    const made: string[] = []
    try {
      for (const [i, name] of missing.entries()) {
        if (!by.privileged && by.account.nodes >= Quota.NODES) throw new StoreError('ENOSPC')
        const children = i === 0 ? [] : [nameOf(missing[i - 1] as string)]
        this.database.write(by, name, { permissions, data: i === 0 ? data : new Uint8Array(), children })
        made.push(name)
        this.database.count(by, owner, 1)
      }
      const children = [...parent.children, nameOf(missing.at(-1) as string)]
      this.database.write(by, above, { ...parent, children })
    } catch (error) {
      for (const name of made) {
        this.database.delete(by, name)
        this.database.count(by, owner, -1)
      }
      if (by.transaction && made.length > 0) by.transaction.failed = true
      throw error
    }
    this.fire(by, path, false)
  }

  /** Remove a node that exists. Events of its children go to those who watch just them. */
  remove(by: Connection, path: string): void {
    const above = parentOf(path)
    const parent = this.database.read(by, above)
    if (!parent) throw new StoreError('EINVAL')
    this.#removeBelow(by, path, path)
    // A transaction has seen parent and child at different times: it cannot be committed anyway.
    if (!parent.children.includes(nameOf(path))) throw new StoreError('EIO')
    this.database.write(
      by,
      above,
      { ...parent, children: parent.children.filter((name) => name !== nameOf(path)) },
      false,
    )
  }

  #removeBelow(by: Connection, path: string, root: string): void {
    const node = this.database.read(by, path)
    if (!node) throw new StoreError('EIO')
    for (const name of node.children) this.#removeBelow(by, childOf(path, name), root)
    // Whoever may see it is asked while it is still there.
    this.fire(by, path, path !== root)
    this.database.delete(by, path)
    this.database.count(by, (node.permissions[0] as Permission).domain, -1)
  }

  /** Tell those who watch `path`, at once or with the transaction's end; `exact`: not those who watch above it. */
  fire(by: Connection | undefined, path: string, exact: boolean, before?: readonly Permission[]): void {
    const entry = by?.transaction?.touched.get(path)
    if (entry) {
      if (entry.event === 'none' || !exact) entry.event = exact ? 'exact' : 'tree'
      return
    }
    for (const connection of this.#connections) {
      if (connection.watches.length === 0 || !this.#maySee(connection, path, before)) continue
      for (const watch of connection.watches) {
        if (exact ? path !== watch.path : !isWithin(path, watch.path)) continue
        connection.event(eventPath(connection, watch, path), watch.token, by)
      }
    }
  }

  /** Who may be told of what happens to domains. Throws EINVAL for another special path, EACCES. */
  setSpecialPermissions(by: Connection, path: string, permissions: readonly Permission[]): void {
    const before = this.#special.get(path)
    if (!before) throw new StoreError('EINVAL')
    const wanted = Access.WRITE | Access.OWNER
    if ((allowed(by, before) & wanted) !== wanted) throw new StoreError('EACCES')
    this.#special.set(path, permissions)
  }

  /** Something happened to a domain. */
  fireSpecial(path: SpecialPath): void {
    for (const connection of this.#connections)
      if (allowed(connection, this.#special.get(path) ?? []) & Access.READ)
        for (const watch of connection.watches) if (watch.path === path) connection.event(path, watch.token, undefined)
  }

  /** What the nearest node above that exists allows. */
  #nearest(by: Connection, path: string): number {
    for (let above = parentOf(path); ; above = parentOf(above)) {
      const node = this.database.read(by, above)
      if (node) return allowed(by, node.permissions)
    }
  }

  /** The node or its parent can be read; permissions before the change count, too. */
  #maySee(connection: Connection, path: string, before: readonly Permission[] | undefined): boolean {
    if (before && allowed(connection, before) & Access.READ) return true
    const node = this.database.read(undefined, path)
    if (!node) return false
    if (allowed(connection, node.permissions) & Access.READ) return true
    const parent = this.database.read(undefined, parentOf(path))
    return parent !== undefined && (allowed(connection, parent.permissions) & Access.READ) !== 0
  }
}

function allowed(by: Connection, permissions: readonly Permission[]): number {
  return accessOf(permissions, by.account.domain, by.privileged)
}

/** Watches of relative paths are answered with relative ones. */
export function eventPath(connection: Connection, { relative }: { relative: boolean }, path: string): string {
  return relative ? path.slice(connection.home.length).replace(/^\//, '') : path
}
