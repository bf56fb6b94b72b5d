/**
 * Effects without a machine, so that every request can be tested without guest code: registers that a test sets, RAM
 * that it reads, time that it advances, and a list of what the platform did.
 */
import type { EntryState } from '../boot/layout.ts'
import type { ConsolePort, Deadline, Effects, EoiAssist, FrameKind, Register } from './effects.ts'
import { registers } from './effects.ts'
import { mockPv } from './pv-mock.ts'

const PAGE = 4096

export class MockVcpu {
  readonly registers = new Map<Register, bigint>(registers.map((name) => [name, 0n]))
  readonly xmm = Array.from({ length: 16 }, () => new Uint8Array(16))
  privilege = 0
  protectedMode = true
  wide = true
  root = 0n
  cr2 = 0
  tpr = 0
  icr = 0n
  tscOffset = 0n
  apicEnabled = true
  stolen = 0
  running = true
  halted = false
  interruptFlag = true
  /** An interrupt would be taken. */
  waits = false
  line: (() => number) | undefined
  assist: EoiAssist | undefined
  onEoi: (() => void) | undefined
  /** With what it was entered last. */
  entered: EntryState | undefined
  /** How the last IRET tells that it went well. */
  iret: ((cs: number, ss: number) => void) | undefined
  readonly apic = new Map<number, number>()
  onEnabled: (() => void) | undefined
}

export class Mock {
  readonly vcpus: readonly MockVcpu[]
  readonly ram: Uint8Array
  readonly view: DataView
  /** What was done, in order: `post 0 0xed`, `flush 1 all`, ... */
  readonly log: string[] = []
  readonly effects: Effects
  readonly #deadlines: { at: number; readonly callback: () => void }[] = []
  /** Where the shared bytes are, by name and vCPU: `clock pages 0`. */
  readonly shared = new Map<string, bigint | undefined>()
  /** Level-triggered lines by GSI. */
  readonly levels = new Map<number, () => boolean>()
  readonly #covered = new Map<number, Uint8Array>()
  readonly #pages: number
  readonly #kinds: FrameKind[]
  #now = 0

  /**
   * `frames` for the platform's own lie above `pages` of RAM, and are nothing to the guest. `ram` is an earlier mock's of
   * the same size, to be used again.
   */
  constructor(options: { vcpus?: number; pages?: number; frames?: number; ram?: Uint8Array | undefined } = {}) {
    const pages = options.pages ?? 64
    const frames = pages + (options.frames ?? 0)
    this.vcpus = Array.from({ length: options.vcpus ?? 1 }, () => new MockVcpu())
    this.ram = options.ram?.fill(0) ?? new Uint8Array(frames * PAGE)
    this.view = new DataView(this.ram.buffer)
    this.#pages = pages
    this.#kinds = Array.from({ length: frames }, (_, frame) => (frame < pages ? 'ram' : 'none'))
    this.effects = this.#make()
  }

  /** Let time pass; what is due on the way happens in its order. */
  advance(nanoseconds: number): void {
    const end = this.#now + nanoseconds
    for (;;) {
      const next = this.#deadlines.reduce((a, b) => (b.at < a.at ? b : a), { at: Infinity, callback: () => {} })
      if (next.at > end) break
      this.#now = Math.max(this.#now, next.at)
      next.at = Infinity
      next.callback()
    }
    this.#now = end
  }

  /** Let time pass while the host does nothing: what was due meanwhile happens late. */
  stall(nanoseconds: number): void {
    this.#now += nanoseconds
    this.advance(0)
  }

  #vcpu(vcpu: number): MockVcpu {
    const found = this.vcpus[vcpu]
    if (!found) throw new Error(`there is no vCPU ${vcpu}`)
    return found
  }

  #make(): Effects {
    const note = (...words: (string | number | bigint)[]) => void this.log.push(words.join(' '))
    const hex = (value: number | bigint) => `0x${value.toString(16)}`
    const inRam = (address: bigint, length: number) => {
      if (address < 0n || address + BigInt(length) > BigInt(this.ram.length)) return false
      const last = Math.floor((Number(address) + Math.max(length, 1) - 1) / PAGE)
      return this.#kinds.slice(Math.floor(Number(address) / PAGE), last + 1).every((kind) => kind !== 'none')
    }
    const { view } = this
    const words = new Int32Array(this.ram.buffer)
    const consoles: ConsolePort[] = Array.from({ length: 4 }, (_, i) => ({
      connected: true,
      output: (bytes) => note('console', i, JSON.stringify(String.fromCharCode(...bytes))),
      onInput: undefined,
    }))
    return {
      cpu: {
        count: this.vcpus.length,
        enter: (vcpu, state) => {
          note('enter', vcpu, hex(state.rip))
          this.#vcpu(vcpu).entered = state
          this.#vcpu(vcpu).running = true
        },
        park: (vcpu) => {
          note('park', vcpu)
          this.#vcpu(vcpu).running = false
        },
        unpark: (vcpu) => {
          note('unpark', vcpu)
          this.#vcpu(vcpu).running = true
        },
        interruptFlag: (vcpu) => this.#vcpu(vcpu).interruptFlag,
        setInterruptFlag: (vcpu) => note('sti', vcpu),
        running: (vcpu) => this.#vcpu(vcpu).running,
        waits: (vcpu) => this.#vcpu(vcpu).halted,
        register: (vcpu, name) => this.#vcpu(vcpu).registers.get(name) as bigint,
        setRegister: (vcpu, name, value) => void this.#vcpu(vcpu).registers.set(name, BigInt.asUintN(64, value)),
        setNumber: (vcpu, name, value, wide) =>
          void this.#vcpu(vcpu).registers.set(name, BigInt.asUintN(wide ? 64 : 32, BigInt(value))),
        general: (vcpu) => {
          const values = registers.map((name) => this.#vcpu(vcpu).registers.get(name) as bigint)
          return new Uint32Array(BigUint64Array.from(values).buffer)
        },
        low: (vcpu, name) => Number(BigInt.asUintN(32, this.#vcpu(vcpu).registers.get(name) as bigint)),
        iret: (vcpu, rip, rsp, done) => {
          note('iret', vcpu, hex(rip), hex(rsp))
          this.#vcpu(vcpu).iret = done
        },
        cr2: (vcpu) => this.#vcpu(vcpu).cr2,
        xmm: (vcpu, index) => (this.#vcpu(vcpu).xmm[index] as Uint8Array).slice(),
        privilege: (vcpu) => this.#vcpu(vcpu).privilege,
        protectedMode: (vcpu) => this.#vcpu(vcpu).protectedMode,
        wide: (vcpu) => this.#vcpu(vcpu).wide,
      },
      memory: {
        pages: this.#pages,
        frames: this.ram.length / PAGE,
        view,
        bytes: (address, length) => this.ram.subarray(address, address + length),
        store8: (address, value) => view.setUint8(address, value),
        store16: (address, value) => view.setUint16(address, value, true),
        store32: (address, value) => view.setUint32(address, value, true),
        store64: (address, value) => view.setBigUint64(address, value, true),
        words,
        storePair: (index, low, high) => {
          words[index] = low
          words[index + 1] = high
        },
        place: (address, bytes) => this.ram.set(bytes, address),
        kind: (frame) => this.#kinds[frame] ?? 'none',
        setKind: (frame, kind) => void (this.#kinds[frame] = kind),
        // Linear addresses are physical ones.
        translate: (_vcpu, low, high, write) => {
          const kind = high === 0 && low < this.ram.length ? this.#kinds[Math.floor(low / PAGE)] : 'none'
          return kind === 'none' || (write && kind === 'rom') ? -1 : low
        },
        read: (address, length) =>
          inRam(address, length) ? this.ram.subarray(Number(address), Number(address) + length) : undefined,
        write: (address, bytes) => {
          if (!inRam(address, bytes.length) || this.#covered.has(Number(address >> 12n))) return false
          this.ram.set(bytes, Number(address))
          return true
        },
        // Linear addresses are physical ones.
        load: (vcpu, linear, length) => {
          if (inRam(linear, length)) return this.ram.slice(Number(linear), Number(linear) + length)
          note('fault', vcpu)
          return undefined
        },
        probe: (vcpu, linear, length) => {
          if (!inRam(linear, length)) note('fault', vcpu)
          return inRam(linear, length)
        },
        store: (_vcpu, linear, bytes) => this.ram.set(bytes, Number(linear)),
        overlay: (page, bytes) => {
          const under = this.#covered.get(page)
          if (bytes && !under) this.#covered.set(page, this.ram.slice(page * PAGE, (page + 1) * PAGE))
          const shown = bytes ?? under
          if (shown) this.ram.set(shown, page * PAGE)
          if (!bytes) this.#covered.delete(page)
        },
        share: ({ name }, vcpu, address) => void this.shared.set(`${name} ${vcpu}`, address),
      },
      irq: {
        line: (vcpu, line) => {
          this.#vcpu(vcpu).line = line
        },
        pull: (vcpu) => note('pull', vcpu),
        waits: (vcpu) => this.#vcpu(vcpu).waits,
        post: (vcpu, vector, autoEoi) => note('post', vcpu, hex(vector), ...(autoEoi ? ['auto-eoi'] : [])),
        message: (vcpu, icr) => {
          if (!this.#vcpu(vcpu).apicEnabled) return false
          note('message', vcpu, hex(icr))
          return true
        },
        enabled: (vcpu) => this.#vcpu(vcpu).apicEnabled,
        level: (gsi, up) => {
          if (up) this.levels.set(gsi, up)
          else this.levels.delete(gsi)
        },
        sample: () => {
          for (const [gsi, up] of this.levels) note('level', gsi, Number(up()))
        },
        isa: (irq) => note('isa', irq),
        apic: (vcpu, offset) => this.#vcpu(vcpu).apic.get(offset) ?? 0,
        setApic: (vcpu, offset, value) => void this.#vcpu(vcpu).apic.set(offset, value),
        nmi: (vcpu) => note('nmi', vcpu),
        assist: (vcpu, assist) => {
          this.#vcpu(vcpu).assist = assist
        },
        eoi: (vcpu) => {
          note('eoi', vcpu)
          this.#vcpu(vcpu).onEoi?.()
        },
        onEnabled: (vcpu, listener) => {
          this.#vcpu(vcpu).onEnabled = listener
        },
        onEoi: (vcpu, listener) => {
          this.#vcpu(vcpu).onEoi = listener
        },
        tpr: (vcpu) => this.#vcpu(vcpu).tpr,
        setTpr: (vcpu, value) => {
          this.#vcpu(vcpu).tpr = value
        },
        icr: (vcpu) => this.#vcpu(vcpu).icr,
        setIcr: (vcpu, value) => {
          this.#vcpu(vcpu).icr = value
          note('icr', vcpu, hex(value))
        },
      },
      mmu: {
        root: (vcpu) => this.#vcpu(vcpu).root,
        flush: (vcpu, addresses) => note('flush', vcpu, ...(addresses?.map(hex) ?? ['all'])),
      },
      time: {
        now: () => this.#now,
        wallClock: () => BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n + BigInt(this.#now),
        tscHz: 1_000_000_000,
        tscOffset: (vcpu) => this.#vcpu(vcpu).tscOffset,
        apicHz: 25_000_000,
        stolen: (vcpu) => this.#vcpu(vcpu).stolen,
        deadline: (callback): Deadline => {
          const entry = { at: Infinity, callback }
          this.#deadlines.push(entry)
          return {
            set: (at) => {
              entry.at = at
            },
          }
        },
      },
      lock: {
        wake: (vcpu) => note('wake', vcpu),
        yieldTo: (to) => note('yield', to),
        block: (vcpu) => note('block', vcpu),
      },
      machine: {
        reset: () => note('reset'),
        powerOff: () => note('power-off'),
        crash: (reason) => note('crash', reason),
        // The same each time; no platform's answer depends on it.
        random: () => 0x12345678,
        report: (lines) => note('report', ...lines),
        wake: () => note('outside'),
      },
      consoles,
      pv: mockPv(note),
    }
  }
}
