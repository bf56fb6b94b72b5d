/**
 * Shadow page tables (drivers/lguest/page_tables.c, with PAE): the guest's own say what it wants, the processor uses
 * ours, made entry by entry as the guest faults. A guest frame's number is its number here, so an entry is copied once
 * it has been checked. Of four shadows one is in use; a kernel's part is never thrown away for another address space.
 */
import type { MemoryEffects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { Data } from './abi.ts'
import { PAGE, PGDIRS, SWITCHER_CODE_PAGES } from './frames.ts'
import { type Lguest, word64 } from './lguest.ts'
import { Pool } from './pool.ts'
import { SWITCHER_ADDR } from './switcher.ts'

const PRESENT = 1n
const RW = 2n
const USER = 4n
const ACCESSED = 0x20n
const DIRTY = 0x40n
const PSE = 0x80n
const GLOBAL = 0x100n
/** _PAGE_TABLE. */
const TABLE = PRESENT | RW | USER | ACCESSED | DIRTY
const FLAGS = 0xfffn
/** A page-table entry's frame: 44 address bits. */
const FRAME = 0xffffffff000n
const LAST_PGD = 3
const LAST_PMD = 511
/** RESERVE_MEM: the switcher's addresses. */
const RESERVED = 2 << 20

const ErrorCode = { WRITE: 2, USER: 4 } as const

const pgdIndex = (address: number): number => address >>> 30
const pmdIndex = (address: number): number => (address >>> 21) & LAST_PMD
const pteIndex = (address: number): number => (address >>> 12) & 511
const hex = (value: number): string => `0x${value.toString(16)}`
/** As `%#lx` prints it. */
const pointer = (value: number): string => (value === 0 ? '0' : hex(value))

/** A shadow: of which guest table, and its own top, by frame. */
type Pgdir = {
  readonly guest: number
  readonly top: number
}

export class Shadows implements Stateful {
  readonly #lg: Lguest
  readonly #memory: MemoryEffects
  readonly #pool: Pool
  readonly #pgdirs: (Pgdir | undefined)[] = Array.from({ length: PGDIRS }, () => undefined)
  #current = 0
  /** Which shadow goes next; the real host draws lots. */
  #victim = 0
  /** Present entries have changed since CR3 was loaded. */
  #stale = true

  constructor(lg: Lguest) {
    this.#lg = lg
    this.#memory = lg.effects.memory
    this.#pool = new Pool(this.#memory, lg.map.pool)
    this.#fillSwitcherTable()
  }

  transfer(state: Transfer): void {
    state.part('pool', this.#pool)
    state.list('pgdirs', this.#pgdirs)
    this.#current = state.field('current', this.#current)
    this.#victim = state.field('victim', this.#victim)
    this.#stale = state.field('stale', this.#stale)
  }

  #fillSwitcherTable(): void {
    const { switcherTable, switcher } = this.#lg.map
    for (let page = 0; page < SWITCHER_CODE_PAGES + 2; page++) {
      const flags = PRESENT | ACCESSED | (page === SWITCHER_CODE_PAGES ? RW | DIRTY : 0n)
      this.#memory.store64(switcherTable * PAGE + 8 * page, (BigInt(switcher + page) << 12n) | flags)
    }
  }

  /** init_guest_pagetable: the tables with which the guest begins are at `guest`. */
  begin(guest: number): void {
    const top = this.#newTop()
    if (top === undefined) throw new RangeError('no frames for shadow tables')
    this.#pgdirs[0] = { guest, top }
    this.#current = 0
  }

  /** CR3 for the guest, as the switcher loads it; 0: the one that it has still tells the truth. */
  reload(): number {
    if (!this.#stale) return 0
    this.#stale = false
    return this.root
  }

  get root(): number {
    return this.#own.top * PAGE
  }

  get #own(): Pgdir {
    return this.#pgdirs[this.#current] as Pgdir
  }

  // Entries of shadows

  #get(frame: number, index: number): bigint {
    return word64(this.#memory, frame * PAGE + 8 * index)
  }

  #set(frame: number, index: number, entry: bigint): void {
    this.#memory.store64(frame * PAGE + 8 * index, entry)
  }

  /** A top whose last middle table has the switcher in its last entry. */
  #newTop(): number | undefined {
    const top = this.#pool.take()
    const middle = this.#pool.take()
    if (top === undefined || middle === undefined) return undefined
    this.#set(top, LAST_PGD, (BigInt(middle) << 12n) | PRESENT)
    this.#set(middle, LAST_PMD, (BigInt(this.#lg.map.switcherTable) << 12n) | TABLE)
    return top
  }

  /** The page table for an address, by frame; undefined: there is none. */
  #table({ top }: Pgdir, address: number): number | undefined {
    const pgd = this.#get(top, pgdIndex(address))
    if ((pgd & PRESENT) === 0n) return undefined
    if (pgdIndex(address) === LAST_PGD && pmdIndex(address) === LAST_PMD) {
      this.#lg.kill('attempt to access switcher pages')
      return undefined
    }
    const pmd = this.#get(frameOf(pgd), pmdIndex(address))
    return pmd & PRESENT ? frameOf(pmd) : undefined
  }

  /** gpte_to_spte: the guest believes in global pages, but there are none. */
  #shadowOf(entry: bigint): bigint {
    return (entry & FRAME) | (entry & FLAGS & ~GLOBAL)
  }

  /** check_gpte. */
  #check(entry: bigint): boolean {
    const bad = (entry & PSE) !== 0n || (entry & FRAME) >> 12n >= BigInt(this.#lg.pfnLimit)
    if (bad) this.#lg.kill('bad page table entry')
    return !bad
  }

  /**
   * demand_page: make the shadow's entry for an address at which the guest has faulted. False: the fault is the
   * guest's (or it is dead).
   */
  demandPage(address: number, error: number): boolean {
    const lg = this.#lg
    const pgd = lg.read64(this.#own.guest + 8 * pgdIndex(address))
    if ((pgd & PRESENT) === 0n) return false
    const { top } = this.#own
    if ((this.#get(top, pgdIndex(address)) & PRESENT) === 0n) {
      if ((pgd & FLAGS & ~PRESENT) !== 0n || pgd >> 12n >= BigInt(lg.pfnLimit)) {
        lg.kill('bad page directory entry')
        return false
      }
      const middle = this.#takeTable()
      if (middle === undefined) return false
      this.#set(top, pgdIndex(address), (BigInt(middle) << 12n) | (pgd & FLAGS))
      // Page-directory pointers are read when CR3 is loaded.
      this.#stale = true
    }
    const pmd = lg.read64(pageOf(pgd) + 8 * pmdIndex(address))
    if ((pmd & PRESENT) === 0n) return false
    if (pgdIndex(address) === LAST_PGD && pmdIndex(address) === LAST_PMD) {
      lg.kill('attempt to access switcher pages')
      return false
    }
    const middle = frameOf(this.#get(top, pgdIndex(address)))
    let table = this.#get(middle, pmdIndex(address))
    if ((table & PRESENT) === 0n) {
      if ((pmd & FLAGS & ~TABLE) !== 0n || pmd >> 12n >= BigInt(lg.pfnLimit)) {
        lg.kill('bad page middle directory entry')
        return false
      }
      const frame = this.#takeTable()
      if (frame === undefined) return false
      table = (BigInt(frame) << 12n) | (pmd & FLAGS)
      this.#set(middle, pmdIndex(address), table)
    }
    const at = (pageOf(pmd) + 8 * pteIndex(address)) >>> 0
    let entry = lg.read64(at)
    if ((entry & PRESENT) === 0n) return false
    if ((error & ErrorCode.WRITE) !== 0 && (entry & RW) === 0n) return false
    if ((error & ErrorCode.USER) !== 0 && (entry & USER) === 0n) return false
    if (!this.#check(entry)) return false
    entry |= error & ErrorCode.WRITE ? ACCESSED | DIRTY : ACCESSED
    // Until the first store the shadow cannot be written, so that the guest's dirty bit can be set then.
    this.#setEntry(frameOf(table), pteIndex(address), this.#shadowOf(entry & DIRTY ? entry : entry & ~RW))
    lg.write64(at, entry)
    return true
  }

  #takeTable(): number | undefined {
    const frame = this.#pool.take()
    if (frame === undefined) this.#lg.kill('out of memory allocating pte page')
    return frame
  }

  #setEntry(table: number, index: number, entry: bigint): void {
    if ((this.#get(table, index) & PRESENT) !== 0n) this.#stale = true
    this.#set(table, index, entry)
  }

  /** pin_page: a page of the kernel's stack can be written without a fault. */
  pin(address: number): void {
    const table = this.#table(this.#own, address)
    const entry = table === undefined ? 0n : this.#get(table, pteIndex(address))
    if ((entry & (PRESENT | RW)) === (PRESENT | RW) || this.demandPage(address, ErrorCode.WRITE)) return
    this.#lg.kill(`bad stack page ${hex(address)}`)
  }

  pinStack(): void {
    const { esp, pages } = this.#lg.stack
    for (let page = 0; page < pages; page++) this.pin((esp - 1 - page * PAGE) >>> 0)
  }

  /** guest_pa: where a linear address is in the guest's memory; undefined: nowhere, and the guest is dead. */
  guestPhysical(address: number): number | undefined {
    const lg = this.#lg
    const pgd = lg.read64(this.#own.guest + 8 * pgdIndex(address))
    const pmd = pgd & PRESENT ? lg.read64(pageOf(pgd) + 8 * pmdIndex(address)) : 0n
    const entry = pmd & PRESENT ? lg.read64((pageOf(pmd) + 8 * pteIndex(address)) >>> 0) : 0n
    if ((entry & PRESENT) === 0n) {
      lg.kill(`Bad address ${pointer(address)}`)
      return undefined
    }
    return Number(entry & FRAME & 0xffffffffn) + (address & (PAGE - 1))
  }

  // What the guest asks for

  /** guest_new_pagetable. */
  load(guest: number): void {
    this.#stale = true
    const known = this.#pgdirs.findIndex((pgdir) => pgdir?.guest === guest)
    if (known >= 0) {
      this.#current = known
      return
    }
    this.#victim = (this.#victim + 1) % PGDIRS
    const old = this.#pgdirs[this.#victim]
    const top = old?.top ?? this.#newTop()
    // Without memory for another one, the shadow in use is taken.
    if (top === undefined) this.#victim = this.#current
    const pgdir = { guest, top: top ?? this.#own.top }
    this.#pgdirs[this.#victim] = pgdir
    this.#flushUser(pgdir)
    this.#current = this.#victim
    if (!old) this.pinStack()
  }

  /** guest_pagetable_flush_user. */
  flushUser(): void {
    this.#flushUser(this.#own)
  }

  #flushUser({ top }: Pgdir): void {
    for (let index = 0; index < pgdIndex(this.#lg.kernelAddress); index++) this.#releaseMiddle(top, index)
  }

  /** guest_pagetable_clear_all. */
  clearAll(): void {
    for (const pgdir of this.#pgdirs) {
      if (!pgdir) continue
      const last = frameOf(this.#get(pgdir.top, LAST_PGD))
      for (let index = 0; index < LAST_PMD; index++) this.#releaseTable(last, index)
      for (let index = 0; index < LAST_PGD; index++) this.#releaseMiddle(pgdir.top, index)
    }
    this.#stale = true
    this.pinStack()
  }

  #releaseTable(middle: number, index: number): void {
    const table = this.#get(middle, index)
    if ((table & PRESENT) === 0n) return
    this.#pool.give(frameOf(table))
    this.#set(middle, index, 0n)
    this.#stale = true
  }

  #releaseMiddle(top: number, index: number): void {
    const middle = this.#get(top, index)
    if ((middle & PRESENT) === 0n) return
    for (let i = 0; i <= LAST_PMD; i++) this.#releaseTable(frameOf(middle), i)
    this.#pool.give(frameOf(middle))
    this.#set(top, index, 0n)
    this.#stale = true
  }

  /** guest_set_pte: an entry of a guest's table has changed; above the kernel's address it is every table's. */
  setPte(guest: number, address: number, entry: bigint): void {
    for (const pgdir of this.#pgdirs)
      if (pgdir && (address >= this.#lg.kernelAddress || pgdir.guest === guest)) this.#setPte(pgdir, address, entry)
  }

  #setPte(pgdir: Pgdir, address: number, entry: bigint): void {
    const table = this.#table(pgdir, address)
    if (table === undefined) return
    const used = (entry & (DIRTY | ACCESSED)) !== 0n
    if (used && !this.#check(entry)) return
    this.#setEntry(table, pteIndex(address), used ? this.#shadowOf(entry) : 0n)
  }

  /** guest_set_pgd. */
  setPgd(guest: number, index: number): void {
    const pgdir = this.#pgdirs.find((one) => one?.guest === guest)
    if (index < LAST_PGD && pgdir) this.#releaseMiddle(pgdir.top, index)
  }

  /** page_table_guest_data_init: what the guest says of its addresses, and what it is told. */
  exchangeData(): void {
    const lg = this.#lg
    lg.kernelAddress = lg.field(Data.KERNEL_ADDRESS)
    lg.setField(Data.RESERVE_MEM, RESERVED)
    lg.setField(Data.PGDIR, (this.#pgdirs[0] as Pgdir).guest)
    if (lg.kernelAddress >= SWITCHER_ADDR) lg.kill(`bad kernel address ${hex(lg.kernelAddress)}`)
  }
}

const frameOf = (entry: bigint): number => Number((entry & FRAME) >> 12n)
/** `pfn << PAGE_SHIFT` in a 32-bit word. */
const pageOf = (entry: bigint): number => Number(entry & 0xfffff000n)
