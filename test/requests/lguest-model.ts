/**
 * A small model of lguest's host: shadow page tables as maps, gates and descriptors as numbers, the guest's memory and
 * registers as they must be afterwards. Written from drivers/lguest of Linux 2.6.36, like the host itself.
 */
import { Data, LHCALL, Reg, type RegOffset } from '../../src/platforms/lguest/abi.ts'
import { DATA, ENTRY, KERNEL, PGDIR, STACK } from '../../src/platforms/lguest/testing.ts'

/** RAM, the page of devices, and nine queues of three pages: random numbers and four consoles. */
const LIMIT_PAGES = 256 + 1 + 9 * 3
/** All that the guest can reach, in bytes. */
export const LIMIT = LIMIT_PAGES * 4096
const IF = 0x200
const EPOCH = BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n

/** Page tables by which 2 MiB they map; a top entry of its own or not, by GiB. */
interface Shadow {
  guest: number
  readonly tops: Set<number>
  readonly tables: Map<number, Map<number, bigint>>
}

export class Dead extends Error {}

export class Model {
  readonly log: string[] = []
  readonly ram: Uint8Array
  readonly regs = new Map<RegOffset, number>()
  /** The processor's tables: pairs of words. */
  readonly idt: Uint32Array
  readonly gdt: Uint32Array
  now = 0
  /** When the host was to look, or the clock to ring. */
  clock = Infinity
  tick = Infinity
  kicked = false
  sleeping = false
  next = 0
  readonly #view: DataView
  readonly #gates = new Map<number, readonly [number, number]>()
  readonly #shadows: (Shadow | undefined)[] = [{ guest: PGDIR, tops: new Set(), tables: new Map() }]
  #current = 0
  #victim = 0
  #stack = { ss: 0, esp: 0, pages: 0 }
  #pending = 0
  #halted = false
  #ts = 0

  constructor(ram: Uint8Array, idt: Uint32Array, gdt: Uint32Array) {
    this.ram = ram.slice(0, LIMIT)
    this.#view = new DataView(this.ram.buffer)
    this.idt = idt.slice()
    this.gdt = gdt.slice()
    for (const [offset, value] of [
      [Reg.CS, 0x61],
      [Reg.SS, 0x69],
      [Reg.EFLAGS, 0x202],
      [Reg.EIP, ENTRY],
      [Reg.ESP, STACK],
    ] as const)
      this.regs.set(offset, value)
  }

  reg(offset: RegOffset): number {
    return this.regs.get(offset) ?? 0
  }

  field(offset: number): number {
    return this.#view.getUint32(DATA + offset, true)
  }

  setField(offset: number, value: number): void {
    this.#view.setUint32(DATA + offset, value >>> 0, true)
  }

  /** The shadow's entry for an address. */
  shadow(address: number): bigint | undefined {
    return this.#own.tables.get(address >>> 21)?.get((address >>> 12) & 511)
  }

  get #own(): Shadow {
    return this.#shadows[this.#current] as Shadow
  }

  #die(reason: string): never {
    throw new Dead(reason)
  }

  #reachable(address: number, length: number): boolean {
    return address + length <= 0xffffffff && Math.floor((address + length) / 4096) < LIMIT_PAGES
  }

  #u32(address: number): number {
    if (!this.#reachable(address, 4)) this.#die('bad read address')
    return this.#view.getUint32(address, true)
  }

  #u64(address: number): bigint {
    if (!this.#reachable(address, 8)) this.#die('bad read address')
    return this.#view.getBigUint64(address, true)
  }

  // Page tables

  #entries(address: number): { pgd: bigint; pmd: bigint; at: number } {
    const pgd = this.#u64(this.#own.guest + 8 * (address >>> 30))
    const middle = Number(pgd & 0xfffff000n)
    const pmd = pgd & 1n ? this.#u64(middle + 8 * ((address >>> 21) & 511)) : 0n
    return { pgd, pmd, at: Number(pmd & 0xfffff000n) + 8 * ((address >>> 12) & 511) }
  }

  fault(address: number, error: number): boolean {
    const { tops, tables } = this.#own
    const pgd = this.#u64(this.#own.guest + 8 * (address >>> 30))
    if (!(pgd & 1n)) return false
    if (address >>> 30 !== 3 && !tops.has(address >>> 30)) {
      if (pgd & 0xffen || pgd >> 12n >= LIMIT_PAGES) this.#die('bad page directory entry')
      tops.add(address >>> 30)
    }
    const { pmd, at } = this.#entries(address)
    if (!(pmd & 1n)) return false
    if (address >= 0xffe00000) this.#die('attempt to access switcher pages')
    if (!tables.has(address >>> 21)) {
      if (pmd & 0xf98n || pmd >> 12n >= LIMIT_PAGES) this.#die('bad page middle directory entry')
      tables.set(address >>> 21, new Map())
    }
    let entry = this.#u64(at)
    if (!(entry & 1n) || (error & 2 && !(entry & 2n)) || (error & 4 && !(entry & 4n))) return false
    this.#checkEntry(entry)
    entry |= error & 2 ? 0x60n : 0x20n
    const shown = (entry & 0x40n ? entry : entry & ~2n) & 0xfffffffeffn
    tables.get(address >>> 21)?.set((address >>> 12) & 511, shown & 0xffffffffffn)
    this.#view.setBigUint64(at, entry, true)
    return true
  }

  #checkEntry(entry: bigint): void {
    if (entry & 0x80n || (entry & 0xffffffff000n) >> 12n >= LIMIT_PAGES) this.#die('bad page table entry')
  }

  #physical(address: number): number {
    const { pmd, at } = this.#entries(address)
    const entry = pmd & 1n ? this.#u64(at) : 0n
    if (!(entry & 1n)) this.#die('Bad address')
    return Number(entry & 0xfffff000n) + (address & 4095)
  }

  #pin(): void {
    for (let i = 0; i < this.#stack.pages; i++) {
      const address = (this.#stack.esp - 1 - i * 4096) >>> 0
      if (address >= 0xffe00000) this.#die('attempt to access switcher pages')
      const shown = this.shadow(address) ?? 0n
      if ((shown & 3n) !== 3n && !this.fault(address, 2)) this.#die('bad stack page')
    }
  }

  #clearAll(): void {
    for (const each of this.#shadows) {
      each?.tops.clear()
      each?.tables.clear()
    }
    this.#pin()
  }

  #flushUser(shadow: Shadow): void {
    for (const gib of [0, 1, 2]) this.#drop(shadow, gib)
  }

  #drop(shadow: Shadow, gib: number): void {
    shadow.tops.delete(gib)
    for (const key of Array.from(shadow.tables.keys())) if (key >>> 9 === gib) shadow.tables.delete(key)
  }

  #setPte(guest: number, address: number, entry: bigint): void {
    for (let i = 0; i < 4; i++) {
      const shadow = this.#shadows[i]
      if (!shadow || (address < KERNEL && shadow.guest !== guest)) continue
      if (address >>> 30 !== 3 && !shadow.tops.has(address >>> 30)) continue
      if (address >= 0xffe00000) this.#die('attempt to access switcher pages')
      const table = shadow.tables.get(address >>> 21)
      if (!table) continue
      if (entry & 0x60n) this.#checkEntry(entry)
      table.set((address >>> 12) & 511, entry & 0x60n ? entry & 0xffffffffeffn : 0n)
    }
  }

  #load(guest: number): void {
    const known = this.#shadows.findIndex((each) => each?.guest === guest)
    if (known >= 0) {
      this.#current = known
      return
    }
    this.#victim = (this.#victim + 1) % 4
    const old = this.#shadows[this.#victim]
    const shadow = old ?? { guest, tops: new Set(), tables: new Map() }
    shadow.guest = guest
    this.#shadows[this.#victim] = shadow
    this.#flushUser(shadow)
    this.#current = this.#victim
    if (!old) this.#pin()
  }

  // Traps

  /** The guest has left with this trap; false: it sleeps. */
  trap(vector: number, error: number, cr2 = 0): boolean {
    this.kicked = false
    this.tick = Infinity
    if (!this.sleeping) this.#handle(vector, error, cr2)
    this.sleeping = false
    for (;;) {
      const possible = this.#interrupts()
      if (!this.#halted) break
      if (!possible || this.#waiting() === 0) {
        this.sleeping = true
        this.log.push('block 0')
        return false
      }
    }
    this.log.push(`ts 0 ${this.#ts === 0 ? 0 : 1}`)
    return true
  }

  #handle(vector: number, error: number, cr2: number): void {
    this.regs.set(Reg.TRAPNUM, vector)
    this.regs.set(Reg.ERRCODE, error)
    if (vector === 0x1f) {
      this.#ring()
      return this.#call([Reg.EAX, Reg.EBX, Reg.ECX, Reg.EDX, Reg.ESI].map((r) => this.reg(r)))
    }
    if (vector === 13 && error === 0 && this.#emulate()) return
    if ((vector === 13 || vector === 6) && this.#rewrite()) return
    if (vector === 14) {
      if (this.fault(cr2, error)) return
      this.setField(Data.CR2, cr2)
    }
    if (vector === 7 && this.#ts === 0) return
    if (vector >= 32) return
    const gate = this.#gates.get(vector)
    if (!gate) this.#die('unhandled trap')
    const coded = vector === 8 || (vector >= 10 && vector <= 14) || vector === 17
    this.#enter(gate, coded ? error : undefined)
  }

  #emulate(): boolean {
    const eip = this.reg(Reg.EIP)
    const at = this.#physical(eip)
    if ((this.reg(Reg.CS) & 3) !== 1) return false
    const bytes = [...this.ram.subarray(at, at + 2)]
    const advance = (length: number) => void this.regs.set(Reg.EIP, (eip + length) >>> 0)
    if (bytes[0] === 0xfa) {
      advance(1)
      return true
    }
    const wide = bytes[0] === 0x66
    const opcode = (wide ? bytes[1] : bytes[0]) as number
    if (![0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef].includes(opcode)) return false
    if ((opcode & 2) === 0) {
      const ones = opcode & 1 ? 0xffffffff : wide ? 0xffff0000 : 0xffff
      this.regs.set(Reg.EAX, (this.reg(Reg.EAX) | ones) >>> 0)
    }
    advance((wide ? 1 : 0) + (opcode < 0xe8 ? 2 : 1))
    return true
  }

  #rewrite(): boolean {
    if ((this.reg(Reg.CS) & 3) !== 1) return false
    const at = this.#physical(this.reg(Reg.EIP))
    if (this.ram[at] !== 0x0f || this.ram[at + 1] !== 1 || this.ram[at + 2] !== 0xc1) return false
    this.ram.set([0xcd, 0x1f, 0x90], at)
    this.#clearAll()
    return true
  }

  #enter([low, high]: readonly [number, number], error: number | undefined): void {
    const inside = (this.reg(Reg.SS) & 3) === 1
    const top = inside ? this.reg(Reg.ESP) : this.#stack.esp
    let at = this.#physical(top)
    const flags = this.reg(Reg.EFLAGS) & (this.field(Data.IRQ_ENABLED) & IF ? -1 : ~IF)
    const words = inside ? [] : [this.reg(Reg.SS), this.reg(Reg.ESP)]
    words.push(flags, this.reg(Reg.CS), this.reg(Reg.EIP), ...(error === undefined ? [] : [error]))
    for (const word of words) {
      at = (at - 4) >>> 0
      if (!this.#reachable(at, 4)) this.#die('bad write address')
      this.#view.setUint32(at, word >>> 0, true)
    }
    if (!inside) this.regs.set(Reg.SS, this.#stack.ss)
    this.regs.set(Reg.ESP, (top - 4 * words.length) >>> 0)
    this.regs.set(Reg.CS, 0x61)
    this.regs.set(Reg.EIP, ((low & 0xffff) | (high & 0xffff0000)) >>> 0)
    if (((high >> 8) & 15) === 14) this.setField(Data.IRQ_ENABLED, 0)
  }

  #waiting(): number {
    return this.#pending & ~this.field(Data.BLOCKED_INTERRUPTS)
  }

  /** False: none waits, or none may come now. */
  #interrupts(): boolean {
    // Of the clock's interrupt only: no device has any here.
    if ((this.#waiting() & 1) === 0) return false
    const eip = this.reg(Reg.EIP)
    if (eip >= KERNEL + 0x1000 && eip < KERNEL + 0x1010) return this.#later()
    if (this.#halted) {
      this.#halted = false
      this.setField(Data.IRQ_ENABLED, IF)
    } else if (this.field(Data.IRQ_ENABLED) === 0) {
      this.setField(Data.IRQ_PENDING, IF)
      return this.#later()
    }
    const gate = this.#gates.get(32)
    if (gate) {
      this.#pending = 0
      this.#enter(gate, undefined)
    } else this.#later()
    const time = EPOCH + BigInt(this.now)
    this.setField(Data.TIME, Number(time / 1_000_000_000n))
    this.setField(Data.TIME + 4, Number(time % 1_000_000_000n))
    this.setField(Data.IRQ_PENDING, 0)
    return true
  }

  #later(): false {
    this.tick = this.now + 1_000_000
    return false
  }

  advance(nanoseconds: number): void {
    this.now += nanoseconds
    if (this.clock <= this.now) {
      this.clock = Infinity
      this.#pending = 1
      this.kicked = true
      this.log.push('pull 0')
    }
    if (this.tick > this.now) return
    this.tick = Infinity
    this.kicked = true
    this.log.push('pull 0')
  }

  // Hypercalls

  #ring(): void {
    for (let i = 0; i < 64; i++) {
      const slot = this.next
      if (this.ram[DATA + Data.HCALL_STATUS + slot] === 0xff) return
      this.next = (slot + 1) % 64
      this.#call([0, 1, 2, 3, 4].map((word) => this.field(Data.HCALLS + 20 * slot + 4 * word)))
      this.ram[DATA + Data.HCALL_STATUS + slot] = 0xff
    }
  }

  #call(words: readonly number[]): void {
    const [number = 0, a = 0, b = 0, c = 0, d = 0] = words
    switch (number) {
      case LHCALL.FLUSH_ASYNC:
      case LHCALL.SEND_INTERRUPTS:
        return
      case LHCALL.LGUEST_INIT:
        return this.#die('already have lguest_data')
      case LHCALL.SHUTDOWN:
        return this.#die(b === 2 ? 'restart' : this.#reachable(a, 128) ? 'CRASH' : 'bad read address')
      case LHCALL.NEW_PGTABLE:
        return this.#load(a)
      case LHCALL.FLUSH_TLB:
        return a ? this.#clearAll() : this.#flushUser(this.#own)
      case LHCALL.LOAD_IDT_ENTRY:
        return this.#setGate(a, b, c)
      case LHCALL.SET_STACK:
        if ((a & 3) !== 1) this.#die('bad stack segment')
        if (c > 2) this.#die('bad stack pages')
        this.#stack = { ss: a & 0xffff, esp: b, pages: c }
        return this.#pin()
      case LHCALL.TS:
        this.#ts = a
        return
      case LHCALL.SET_CLOCKEVENT:
        this.clock = a === 0 ? Infinity : this.now + a
        return
      case LHCALL.HALT:
        this.#halted = true
        return
      case LHCALL.SET_PMD:
        return this.#clearAll()
      case LHCALL.SET_PTE:
        return this.#setPte(a, b, BigInt(c) | (BigInt(d) << 32n))
      case LHCALL.SET_PGD: {
        const shadow = this.#shadows.find((each) => each?.guest === a)
        if (shadow && b < 3) this.#drop(shadow, b)
        return
      }
      case LHCALL.LOAD_TLS:
        if (!this.#reachable(a, 24)) this.#die('bad read address')
        for (const i of [0, 1, 2]) this.#setDescriptor(6 + i, this.#u32(a + 8 * i), this.#u32(a + 8 * i + 4))
        return
      case LHCALL.NOTIFY:
        if (a >= LIMIT) this.#die('Bad NOTIFY')
        return this.#text(a)
      case LHCALL.LOAD_GDT_ENTRY:
        if (a >= 32) this.#die('too many gdt entries')
        return this.#setDescriptor(a, b, c)
      default:
        this.#die('Bad hypercall')
    }
  }

  #setGate(vector: number, low: number, high: number): void {
    if ([2, 8, 15, 31].includes(vector)) return
    if (vector > 255) this.#die('Setting idt entry')
    const type = (high >> 8) & 15
    const present = (high & 0x8000) !== 0
    if (present && type !== 14 && type !== 15) this.#die('bad IDT type')
    const gate = [(0x610000 | (low & 0xffff)) >>> 0, (high & 0xffffef00) >>> 0] as const
    if (present) this.#gates.set(vector, gate)
    else this.#gates.delete(vector)
    if ((vector > 31 && vector !== 0x80) || [6, 7, 13, 14].includes(vector)) return
    const stub = 0xffe00000 + 16 * vector
    const own = [
      (0x500000 | (stub & 0xffff)) >>> 0,
      ((stub & 0xffff0000) | 0x8e00 | (present ? high & 0x6000 : 0)) >>> 0,
    ]
    this.idt.set(present && type === 15 ? gate : own, 2 * vector)
  }

  #setDescriptor(index: number, low: number, high: number): void {
    if ([10, 11, 16, 31].includes(index)) return
    this.gdt.set([low, high | (high & 0x6000 ? 0 : 0x2000) | 0x100], 2 * index)
  }

  #text(address: number): void {
    const bytes = this.ram.subarray(address)
    const end = bytes.indexOf(0)
    const text = String.fromCharCode(...bytes.subarray(0, end < 0 ? bytes.length : end))
    this.log.push(`console 0 ${JSON.stringify(text)}`)
  }
}
