/**
 * Overlay pages (TLFS, "GPA Overlay Pages"): pages of the hypervisor's that cover RAM. When one goes away, what was
 * under it comes back; when several cover a page, the one that came last is seen.
 */
import type { Effects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

const PAGE = 4096

interface Covered {
  readonly ram: Uint8Array
  /** The last one is visible. */
  readonly layers: Overlay[]
}

export class Overlays implements Stateful {
  readonly memory: Effects['memory']
  readonly #covered = new Map<number, Covered>()
  /** All that there are, placed or not, in the order in which they were made. */
  readonly #all: Overlay[] = []

  constructor(memory: Effects['memory']) {
    this.memory = memory
  }

  transfer(state: Transfer): void {
    const rows = [...this.#covered].map(([page, { ram, layers }]) => ({
      page,
      ram,
      layers: layers.map((layer) => this.#all.indexOf(layer)),
    }))
    state.list('covered', rows)
    if (!state.loading) return
    this.#covered.clear()
    for (const { page, ram, layers } of rows)
      this.#covered.set(page, { ram, layers: layers.map((index) => this.#all[index] as Overlay) })
  }

  add(overlay: Overlay): void {
    this.#all.push(overlay)
  }

  top(page: number): Overlay | undefined {
    return this.#covered.get(page)?.layers.at(-1)
  }

  cover(page: number, layer: Overlay): void {
    const covered = this.#covered.get(page)
    covered?.layers.at(-1)?.keep()
    const ram = covered?.ram ?? this.#read(page)
    const layers = covered?.layers ?? []
    layers.push(layer)
    this.#covered.set(page, { ram, layers })
    this.#show(page, layer)
  }

  uncover(page: number, layer: Overlay): void {
    const { ram, layers } = this.#covered.get(page) as Covered
    const visible = layers.at(-1) === layer
    if (visible) layer.keep()
    layers.splice(layers.indexOf(layer), 1)
    if (!visible) return
    const next = layers.at(-1)
    if (next) return this.#show(page, next)
    this.memory.overlay(page, undefined)
    this.memory.write(BigInt(page * PAGE), ram)
    this.#covered.delete(page)
  }

  #show(page: number, layer: Overlay): void {
    if (!layer.writable) return this.memory.overlay(page, layer.content)
    this.memory.overlay(page, undefined)
    this.memory.write(BigInt(page * PAGE), layer.content)
  }

  #read(page: number): Uint8Array {
    return (this.memory.read(BigInt(page * PAGE), PAGE) as Uint8Array).slice()
  }
}

/** One page of the hypervisor's: its content stays while it moves. */
export class Overlay implements Stateful {
  readonly writable: boolean
  content: Uint8Array = new Uint8Array(PAGE)
  readonly #overlays: Overlays
  #page: number | undefined

  /** `writable`: the guest's stores stay; otherwise they are #GP. */
  constructor(overlays: Overlays, writable: boolean) {
    this.#overlays = overlays
    this.writable = writable
    overlays.add(this)
  }

  transfer(state: Transfer): void {
    this.content = state.field('content', this.content)
    this.#page = state.field('page', this.#page)
  }

  /** Cover this page, or (undefined, or outside RAM) none. */
  place(page: number | undefined): void {
    const to = page !== undefined && page < this.#overlays.memory.pages ? page : undefined
    if (to === this.#page) return
    if (this.#page !== undefined) this.#overlays.uncover(this.#page, this)
    this.#page = to
    if (to !== undefined) this.#overlays.cover(to, this)
  }

  /** The guest can reach it. */
  get accessible(): boolean {
    return this.#page !== undefined
  }

  /** Take over what the guest has stored, before the page is covered or goes. */
  keep(): void {
    if (this.writable && this.#page !== undefined)
      this.content = (this.#overlays.memory.read(BigInt(this.#page * PAGE), PAGE) as Uint8Array).slice()
  }

  #visible(): boolean {
    return this.#page !== undefined && this.#overlays.top(this.#page) === this
  }

  byte(offset: number): number {
    if (!this.#visible() || !this.writable) return this.content[offset] as number
    const at = BigInt((this.#page as number) * PAGE + offset)
    return (this.#overlays.memory.read(at, 1) as Uint8Array)[0] as number
  }

  /** The hypervisor's own store. */
  store(offset: number, bytes: Uint8Array): void {
    this.content.set(bytes, offset)
    if (!this.#visible()) return
    const page = this.#page as number
    if (this.writable) this.#overlays.memory.write(BigInt(page * PAGE + offset), bytes)
    else this.#overlays.memory.overlay(page, this.content)
  }
}
