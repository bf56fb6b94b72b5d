/**
 * What a PVH guest of Xen should see, written down again and as simply as can be: ports as a list, pending ones as a
 * set, frames as a map, grants as counts. It knows nothing of memory layouts.
 */
import { DOM0, DOMID, DOMU } from '../../src/platforms/xen/constants.ts'

export const VCPUS = 3
export const PAGES = 256
/** Frame numbers that are drawn lie below this, or beyond all memory: between them are Xen’s own pages. */
export const FRAMES = 450
const SLACK = 288
const PORTS = 1024
const BUCKET = 64
const SLICE = 64
const GRANT_PAGES = 64
const REFS = { 1: 512, 2: 256 } as const
const GLOBAL_VIRQS = (virq: number) => ![0, 1, 7, 13].includes(virq)

export type Values = Readonly<Record<string, bigint>>
/** An answer, and members of the structure that matter. */
export type Expected = readonly [answer: number | string, out?: Values]

interface Port {
  kind: 'free' | 'unbound' | 'pair' | 'virq' | 'ipi'
  vcpu: number
  virq: number
  remote: number
  /** The other end of a pair: a port of its own, or dom0's. */
  peer: number
  dom0: boolean
  priority: number
}

interface Use {
  readonly dom: number
  readonly frame: number
  readonly part: boolean
  readers: number
  writers: number
}

const free = (): Port => ({ kind: 'free', vcpu: 0, virq: 0, remote: 0, peer: 0, dom0: false, priority: 0 })
const self = (dom: bigint): boolean => dom === BigInt(DOMID.SELF) || dom === BigInt(DOMU)

export class XenModel {
  readonly ports: Port[] = Array.from({ length: BUCKET }, free)
  readonly pending = new Set<number>()
  readonly masked = new Set<number>()
  /** FIFO: what came while there was no word for it. */
  readonly saved = new Set<number>()
  /** FIFO: in some queue. Consumers take them out. */
  readonly linked = new Set<number>()
  fifo = false
  readonly controls = new Set<number>()
  arrays = 0
  /** Where a reset goes on. */
  resetting = 0
  readonly info = new Set<number>()
  readonly running = new Set([0])
  readonly params = new Map<number, bigint>()
  /** Guest frame numbers that are memory, and those with Xen's pages. */
  readonly ram = new Set(Array.from({ length: PAGES }, (_, i) => i))
  readonly shared = new Map<number, string>()
  pages = PAGES
  version: 1 | 2 = 1
  grantPages = 1
  readonly uses = new Map<number, Use>()
  readonly entries = new Map<number, { flags: number; domid: number; frame: number }>()
  /** Watchdogs in use. */
  readonly dogs = new Set<number>()

  // Events

  #exists = (port: bigint): boolean => port < BigInt(this.ports.length)
  #at = (port: bigint): Port | undefined => (this.#exists(port) ? this.ports[Number(port)] : undefined)

  #allocate(): number {
    for (let port = 1; port < PORTS; port++) {
      if (port === this.ports.length) for (let i = 0; i < BUCKET; i++) this.ports.push(free())
      if (this.ports[port]?.kind === 'free' && !this.linked.has(port)) return port
    }
    return -1
  }

  #bind(port: number, fields: Partial<Port>): Expected {
    this.ports[port] = { ...free(), priority: this.fifo ? 7 : 0, ...fields }
    return [0, { port: BigInt(port) }]
  }

  raise(port: number): void {
    if (!this.fifo) this.pending.add(port)
    else if (!this.word(port)) this.saved.add(port)
    else if (this.controls.has((this.ports[port] as Port).vcpu)) {
      this.pending.add(port)
      if (!this.masked.has(port)) this.linked.add(port)
    }
  }

  /** FIFO: there is a word for the port. */
  word(port: number): boolean {
    return port < this.arrays * 1024
  }

  /** What a consumer must find. */
  visible(): number[] {
    return [...this.pending].filter((port) => !this.masked.has(port) && (!this.fifo || this.linked.has(port)))
  }

  #close(port: number): void {
    const closed = this.ports[port] as Port
    if (closed.kind === 'pair' && !closed.dom0) {
      const peer = this.ports[closed.peer] as Port
      peer.kind = 'unbound'
      peer.remote = DOMU
    }
    this.ports[port] = free()
    this.pending.delete(port)
  }

  /** dom0 binds to a port. */
  connect(port: number): boolean {
    const at = this.ports[port]
    if (at?.kind !== 'unbound' || at.remote !== DOM0) return false
    at.kind = 'pair'
    at.dom0 = true
    return true
  }

  disconnect(port: number): void {
    const at = this.ports[port] as Port
    at.kind = 'unbound'
    at.remote = DOM0
    at.dom0 = false
  }

  readonly calls: Readonly<Record<string, (v: Values, caller: number) => Expected | undefined>> = {
    EVTCHNOP_alloc_unbound: ({ dom = 0n, remote_dom = 0n }) => {
      if (!self(dom)) return [dom === 0n ? 'EPERM' : 'ESRCH']
      const port = this.#allocate()
      const remote = remote_dom === BigInt(DOMID.SELF) ? DOMU : Number(remote_dom)
      return port < 0 ? ['ENOSPC'] : this.#bind(port, { kind: 'unbound', remote })
    },
    EVTCHNOP_bind_interdomain: ({ remote_dom = 0n, remote_port = 0n }) => {
      if (!self(remote_dom) && remote_dom !== 0n) return ['ESRCH']
      const port = this.#allocate()
      if (port < 0) return ['ENOSPC']
      const other = self(remote_dom) ? this.#at(remote_port) : undefined
      if (other?.kind !== 'unbound' || other.remote !== DOMU) return ['EINVAL']
      this.#bind(port, { kind: 'pair', remote: DOMU, peer: Number(remote_port) })
      other.kind = 'pair'
      other.dom0 = false
      other.peer = port
      this.raise(port)
      return [0, { local_port: BigInt(port) }]
    },
    EVTCHNOP_bind_virq: ({ virq = 0n, vcpu = 0n }) => {
      if (virq >= 24n || (GLOBAL_VIRQS(Number(virq)) && vcpu !== 0n)) return ['EINVAL']
      if (vcpu >= BigInt(VCPUS)) return ['ENOENT']
      const has = this.ports.some(
        (at) => at.kind === 'virq' && at.virq === Number(virq) && (GLOBAL_VIRQS(at.virq) || at.vcpu === Number(vcpu)),
      )
      if (has) return ['EEXIST']
      const port = this.#allocate()
      return port < 0 ? ['ENOSPC'] : this.#bind(port, { kind: 'virq', virq: Number(virq), vcpu: Number(vcpu) })
    },
    EVTCHNOP_bind_ipi: ({ vcpu = 0n }) => {
      if (vcpu >= BigInt(VCPUS)) return ['ENOENT']
      const port = this.#allocate()
      return port < 0 ? ['ENOSPC'] : this.#bind(port, { kind: 'ipi', vcpu: Number(vcpu) })
    },
    EVTCHNOP_bind_pirq: () => ['EINVAL'],
    EVTCHNOP_close: ({ port = 0n }) => {
      if (port === 0n || (this.#at(port)?.kind ?? 'free') === 'free') return ['EINVAL']
      this.#close(Number(port))
      return [0]
    },
    EVTCHNOP_send: ({ port = 0n }) => {
      const at = this.#at(port)
      switch (at?.kind) {
        case 'pair':
          if (!at.dom0) this.raise(at.peer)
          return [0]
        case 'ipi':
          this.raise(Number(port))
          return [0]
        case 'unbound':
          return [0]
        default:
          return ['EINVAL']
      }
    },
    EVTCHNOP_status: ({ dom = 0n, port = 0n }) => {
      if (!self(dom)) return [dom === 0n ? 'EPERM' : 'ESRCH']
      const at = this.#at(port)
      if (!at) return ['EINVAL']
      const status = { free: 0n, unbound: 1n, pair: 2n, virq: 4n, ipi: 5n }[at.kind]
      return [0, { status, vcpu: BigInt(at.vcpu) }]
    },
    EVTCHNOP_bind_vcpu: ({ port = 0n, vcpu = 0n }) => {
      if (vcpu >= BigInt(VCPUS)) return ['ENOENT']
      const at = this.#at(port)
      if (at?.kind !== 'unbound' && at?.kind !== 'pair' && (at?.kind !== 'virq' || !GLOBAL_VIRQS(at.virq)))
        return ['EINVAL']
      at.vcpu = Number(vcpu)
      return [0]
    },
    EVTCHNOP_unmask: ({ port = 0n }) => {
      if (!this.#exists(port)) return ['EINVAL']
      this.unmask(Number(port))
      return [0]
    },
    EVTCHNOP_set_priority: ({ port = 0n, priority = 0n }) => {
      const at = this.#at(port)
      if (!at) return ['EINVAL']
      if (!this.fifo) return ['ENOSYS']
      if (at.kind === 'free') return ['EACCES']
      if (priority > 15n) return ['EINVAL']
      at.priority = Number(priority)
      return [0]
    },
    EVTCHNOP_init_control: ({ control_gfn = 0n, offset = 0n, vcpu = 0n }) => {
      if (vcpu >= BigInt(VCPUS)) return ['ENOENT']
      if (offset > 4024n || offset % 8n !== 0n) return ['EINVAL']
      if (this.controls.has(Number(vcpu)) || !this.has(control_gfn)) return ['EINVAL']
      this.controls.add(Number(vcpu))
      if (!this.fifo) {
        for (const port of this.pending) this.saved.add(port)
        this.pending.clear()
        this.masked.clear()
      }
      this.fifo = true
      return [0]
    },
    EVTCHNOP_expand_array: ({ array_gfn = 0n }) => {
      if (!this.fifo) return ['EOPNOTSUPP']
      if (this.arrays === 128) return ['ENOSPC']
      if (!this.has(array_gfn)) return ['EINVAL']
      this.arrays++
      for (const port of this.saved) if (this.word(port) && port >= (this.arrays - 1) * 1024) this.raise(port)
      return [0]
    },
    EVTCHNOP_reset: ({ dom = 0n }) => this.#reset(dom, false),
    EVTCHNOP_reset_cont: ({ dom = 0n }) => this.#reset(dom, true),

    XENMEM_add_to_physmap: (v) => this.#map(v),
    XENMEM_remove_from_physmap: ({ domid = 0n, gpfn = 0n }) => {
      if (!self(domid)) return [domid === 0n ? 'EACCES' : 'ESRCH']
      if (!this.has(gpfn)) return ['ENOENT']
      this.ram.delete(Number(gpfn))
      this.shared.delete(Number(gpfn))
      return [0]
    },
    XENMEM_current_reservation: ({ domid = 0n }) => (self(domid) ? [this.pages] : [domid === 0n ? 'EPERM' : 'ESRCH']),
    XENMEM_maximum_reservation: ({ domid = 0n }) =>
      self(domid) ? [PAGES + SLACK] : [domid === 0n ? 'EPERM' : 'ESRCH'],

    HVMOP_set_param: ({ domid = 0n, index = 0n, value = 0n }) => {
      const refusal = this.#param(domid, index, [0, 2, 18, 34, 36])
      if (refusal) return refusal
      if (index === 36n && ![0n, 4n, 8n].includes(value)) return ['EINVAL']
      this.params.set(Number(index), value)
      return [0]
    },
    HVMOP_get_param: ({ domid = 0n, index = 0n }) =>
      this.#param(domid, index, [0, 1, 2, 17, 18, 34, 35, 36]) ?? [0, { value: this.params.get(Number(index)) ?? 0n }],
    HVMOP_set_evtchn_upcall_vector: ({ vcpu = 0n, vector = 0n }) =>
      vector < 16n ? ['EINVAL'] : vcpu >= BigInt(VCPUS) ? ['ENOENT'] : [0],

    GNTTABOP_query_size: ({ dom = 0n }) =>
      self(dom)
        ? [0, { nr_frames: BigInt(this.grantPages), max_nr_frames: 64n, status: 0n }]
        : [0, { status: dom === 0n ? -8n : -2n }],
    GNTTABOP_get_version: ({ dom = 0n }) =>
      self(dom) ? [0, { version: BigInt(this.version) }] : [dom === 0n ? 'EPERM' : 'ESRCH'],
    GNTTABOP_set_version: ({ version = 0n }) => {
      if (version !== 1n && version !== 2n) return ['EINVAL', { version: BigInt(this.version) }]
      if (version === BigInt(this.version)) return [0, { version }]
      if (this.uses.size > 0) return ['EBUSY', { version: BigInt(this.version) }]
      this.version = version === 1n ? 1 : 2
      this.entries.clear()
      // There are no status words any more.
      if (this.version === 1)
        for (const [gfn, page] of this.shared) if (page.startsWith('status')) this.shared.delete(gfn)
      return [0, { version }]
    },
    GNTTABOP_swap_grant_ref: ({ ref_a = 0n, ref_b = 0n }) => {
      const refs = BigInt(this.grantPages * REFS[this.version])
      if (ref_a >= refs || ref_b >= refs) return [0, { status: -3n }]
      const [a, b] = [Number(ref_a), Number(ref_b)]
      if (a !== b && (this.uses.has(a) || this.uses.has(b))) return [0, { status: -12n }]
      const [first, second] = [this.entries.get(a), this.entries.get(b)]
      for (const [ref, entry] of [
        [a, second],
        [b, first],
      ] as const)
        if (entry) this.entries.set(ref, entry)
        else this.entries.delete(ref)
      return [0, { status: 0n }]
    },

    SCHEDOP_watchdog: ({ id = 0n, timeout = 0n }) => {
      if (id > 2n) return ['EINVAL']
      if (id === 0n) {
        const given = [1, 2].find((each) => !this.dogs.has(each))
        if (given === undefined) return ['ENOSPC']
        this.dogs.add(given)
        return [given]
      }
      if (!this.dogs.has(Number(id))) return ['EINVAL']
      if (timeout === 0n) this.dogs.delete(Number(id))
      return [0]
    },
  }

  #param(domid: bigint, index: bigint, allowed: readonly number[]): Expected | undefined {
    if (index >= 39n) return ['EINVAL']
    if (!self(domid)) return [domid === 0n ? 'EINVAL' : 'ESRCH']
    if ([4, 13, 20, 21, 22, 23, 24, 25, 26, 30].includes(Number(index))) return ['EINVAL']
    // The rest that guests may name is played elsewhere.
    return allowed.includes(Number(index)) ? undefined : ['EPERM']
  }

  unmask(port: number): void {
    if (this.ports[port]?.kind === 'free' || (this.fifo && !this.word(port))) return
    this.masked.delete(port)
    if (this.fifo && this.pending.has(port)) this.raise(port)
  }

  #reset(dom: bigint, resuming: boolean): Expected {
    if (!self(dom)) return [dom === 0n ? 'EPERM' : 'ESRCH']
    if (resuming === (this.resetting === 0)) return ['EBUSY']
    if (!resuming) this.resetting = 1
    const end = Math.min(this.ports.length, this.resetting + SLICE)
    for (let port = this.resetting; port < end; port++) if (this.ports[port]?.kind !== 'free') this.#close(port)
    if (end < this.ports.length && this.ports.some(({ kind }) => kind !== 'free')) {
      this.resetting = end
      return ['again']
    }
    this.resetting = 0
    // The guest clears the bitmaps, which Xen leaves.
    this.pending.clear()
    this.masked.clear()
    this.fifo = false
    this.linked.clear()
    this.controls.clear()
    this.arrays = 0
    return [0]
  }

  // Memory

  has(gfn: bigint): boolean {
    return gfn < BigInt(FRAMES) && (this.ram.has(Number(gfn)) || this.shared.has(Number(gfn)))
  }

  #map({ domid = 0n, space = 0n, idx = 0n, gpfn = 0n, size = 0n }: Values): Expected | undefined {
    void size
    if (space === 4n) return ['ENOSYS']
    if (!self(domid)) return [domid === 0n ? 'EACCES' : 'ESRCH']
    if (space === 5n) return ['EACCES']
    if (space > 2n) return ['EINVAL']
    const to = Number(gpfn)
    const possible = gpfn < BigInt(FRAMES)
    if (space === 2n) {
      const from = Number(idx)
      if (!this.has(idx) || !possible) return ['EINVAL']
      if (from === to) return [0]
      const page = this.shared.get(from)
      this.#vacate(to)
      if (page) this.shared.set(to, page)
      else this.ram.add(to)
      this.ram.delete(from)
      this.shared.delete(from)
      return [0]
    }
    let page = 'info'
    if (space === 1n) {
      const status = idx >= 2n ** 31n
      const index = Number(status ? idx - 2n ** 31n : idx)
      if (status && (this.version !== 2 || index >= GRANT_PAGES / 8)) return ['EINVAL']
      if (!status && index >= GRANT_PAGES) return ['EINVAL']
      this.grantPages = Math.max(
        this.grantPages,
        status ? (index >= Math.ceil(this.grantPages / 8) ? (index + 1) * 8 : 0) : index + 1,
      )
      page = `${status ? 'status' : 'grant'} ${index}`
    } else if (idx !== 0n) return ['EINVAL']
    if (!possible) return ['EINVAL']
    if (this.shared.get(to) === page) return [0]
    this.#vacate(to)
    for (const [gfn, what] of this.shared) if (what === page) this.shared.delete(gfn)
    this.shared.set(to, page)
    return [0]
  }

  /** A page of the guest's own is gone when something else comes to its place. */
  #vacate(gfn: number): void {
    if (this.ram.delete(gfn)) this.pages--
    this.shared.delete(gfn)
  }

  // Grants

  /** As dom0's map: GNTST_*, or undefined when it is held. */
  hold(ref: number, writable: boolean): number | undefined {
    if (ref >= this.grantPages * REFS[this.version]) return -3
    const entry = this.entries.get(ref) ?? { flags: 0, domid: 0, frame: 0 }
    let use = this.uses.get(ref)
    if (!use || (writable && use.writers === 0)) {
      if (!use && ((entry.flags & 0x103) !== 1 || entry.domid !== DOM0)) return -1
      if (writable && entry.flags & 4) return -1
      if (!use) {
        if (!this.has(BigInt(entry.frame))) return -9
        use = { dom: DOM0, frame: entry.frame, part: false, readers: 0, writers: 0 }
      }
      // A page that Xen is to write to must be there: the one that the first use has found.
      if (writable && !this.has(BigInt(use.frame))) return -1
      this.uses.set(ref, use)
    }
    if (writable) use.writers++
    else use.readers++
    return undefined
  }

  release(ref: number, writable: boolean): void {
    const use = this.uses.get(ref) as Use
    if (writable) use.writers--
    else use.readers--
    if (use.readers + use.writers === 0) this.uses.delete(ref)
  }

  /** The bits that the guest sees. */
  used(ref: number): number {
    const use = this.uses.get(ref)
    return use ? 8 | (use.writers > 0 ? 16 : 0) : 0
  }
}
