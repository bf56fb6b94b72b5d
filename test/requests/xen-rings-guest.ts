/**
 * A guest of Xen's without a processor, of any kind, for the random requests of `xen-rings.ts`: grants, event channels by
 * hypercall, and its ends of the rings of store, console, disk and network, in its own memory.
 */
import { strictEqual } from 'node:assert'
import { MemoryDisk, type Disk } from '../../src/backends/disk.ts'
import { UserNetwork } from '../../src/backends/network/user.ts'
import { cpuModel } from '../../src/cpu/models.ts'
import type { Register } from '../../src/paravirt/effects.ts'
import { Mock } from '../../src/paravirt/mock.ts'
import { type Event, Observer } from '../../src/paravirt/observe.ts'
import { TestRing } from '../../src/platforms/xen/devices/testing.ts'
import type { Domain } from '../../src/platforms/xen/domain.ts'
import { XenHvmPlatform, XenPvhPlatform } from '../../src/platforms/xen/index.ts'
import { pvFrames } from '../../src/platforms/xen/mm/create.ts'
import { XenPvPlatform } from '../../src/platforms/xen/pv/index.ts'
import type { PvKind } from '../../src/platforms/xen/pv/kind.ts'
import { TestGuest, TestPage } from '../../src/platforms/xen/store/testing.ts'
import { MessageType } from '../../src/platforms/xen/store/wire.ts'

export const kinds = ['xen-pv', 'xen-pv32', 'xen-pvh', 'xen-hvm'] as const
export type KindName = (typeof kinds)[number]

const PAGE = 4096
const MEMORY = 0x200000
export const SECTORS = 64
const AREA = 0x1000
/** Frames of the guest's: four rings of the toolstack and the devices, pages that are granted, pages that are not. */
const FRAMES = 40
const Frame = { STORE: 0, CONSOLE: 1, BLOCK: 2, TX: 3, RX: 4, DATA: 8, PRIVATE: 32 } as const
/** References: of the rings, of the pages from `Frame.DATA` on; every third of these can only be read. */
export const Ref = { BLOCK: 8, TX: 9, RX: 10, DATA: 16, LIST: 38 } as const
export const readOnly = (reference: number): boolean => reference % 3 === 0
export const isGranted = (reference: number): boolean => reference >= Ref.DATA && reference < Ref.DATA + DATA_PAGES
const DATA_PAGES = Frame.PRIVATE - Frame.DATA
const DOMID_SELF = 0x7ff0
const EVENT_CHANNEL_OP = 32
const PATTERN = 0x5a

const registers = {
  wide: ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'],
  narrow: ['rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp'],
} as const satisfies Record<string, readonly Register[]>

/** A page of the machine's memory. */
class MemoryPage extends TestPage {
  override readonly bytes: Uint8Array<ArrayBuffer>
  override readonly view: DataView<ArrayBuffer>

  constructor(ram: Uint8Array, frame: number) {
    super()
    this.bytes = new Uint8Array(ram.buffer as ArrayBuffer, ram.byteOffset + frame * PAGE, PAGE)
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, PAGE)
  }
}

export interface Setting {
  readonly kind: KindName
  readonly disk: 'memory' | 'raw' | 'read-only'
  readonly persistent: boolean
}

export class RingGuest {
  readonly mock: Mock
  readonly domain: Domain
  readonly setting: Setting
  readonly disk: Uint8Array
  readonly store: TestGuest
  readonly console: MemoryPage
  readonly events: Event[] = []
  block!: TestRing
  tx!: TestRing
  rx!: TestRing
  readonly #hypercall: () => unknown
  readonly #frames: readonly number[]
  readonly #ports: { store: number; console: number; block: number; net: number }

  constructor(setting: Setting, listen: (event: Event) => void) {
    this.setting = setting
    const pv = setting.kind.startsWith('xen-pv') && setting.kind !== 'xen-pvh'
    const narrow = setting.kind === 'xen-pv32'
    this.mock = new Mock({ vcpus: 1, pages: MEMORY / PAGE, frames: pv ? pvFrames(MEMORY) : 256 })
    const { effects, ram } = this.mock
    this.disk = Uint8Array.from({ length: 512 * SECTORS }, (_, i) => i * 7)
    const observer = new Observer(() => effects.time.now())
    observer.listen((event) => {
      if (event.request.kind !== 'ring') return
      this.events.push(event)
      listen(event)
    })
    const devices = { disks: [diskOf(setting, this.disk)], networks: [new UserNetwork().plug()] }
    const options = { effects, model: cpuModel('inorder'), features: new Set<string>(), observer, devices }
    if (pv) {
      if (narrow) Object.assign(this.mock.vcpus[0] as object, { wide: false, privilege: 1 })
      const platform = new XenPvPlatform(options, narrow)
      this.domain = platform.domain
      this.#hypercall = () => platform.pv.hypercall(0)
      const { frames } = (this.domain.kind as PvKind).mm
      frames.maximum = FRAMES
      this.#frames = Array.from({ length: FRAMES }, () => frames.allocate(0))
    } else {
      const platform = setting.kind === 'xen-hvm' ? new XenHvmPlatform(options) : new XenPvhPlatform(options)
      this.domain = platform.domain
      this.#hypercall = () => platform.hypercall(0, this.domain.vmmcall ? 'vmmcall' : 'vmcall')
      this.#frames = Array.from({ length: FRAMES }, (_, i) => 64 + i)
    }
    const { events } = this.domain
    const [store, console] = [events.offer(), events.offer()]
    this.domain.serve(
      {
        store: { frame: this.frame(Frame.STORE), port: store },
        console: { frame: this.frame(Frame.CONSOLE), port: console },
      },
      false,
    )
    this.#ports = { store, console, block: this.#port(), net: this.#port() }
    this.store = new TestGuest(new MemoryPage(ram, this.frame(Frame.STORE)))
    this.store.notify = () => {
      this.notify('store')
      // So that no request waits for its writes to be paid.
      this.mock.advance(20_000_000)
    }
    this.console = new MemoryPage(ram, this.frame(Frame.CONSOLE))
    for (const [reference, index] of [
      [Ref.BLOCK, Frame.BLOCK],
      [Ref.TX, Frame.TX],
      [Ref.RX, Frame.RX],
    ] as const)
      this.#grant(reference, index, false)
    for (let i = 0; i < DATA_PAGES; i++) this.#grant(Ref.DATA + i, Frame.DATA + i, readOnly(Ref.DATA + i))
    for (let i = Frame.PRIVATE; i < FRAMES; i++) this.page(i).bytes.fill(PATTERN)
    this.connectBlock()
    this.connectNet()
  }

  frame(index: number): number {
    return this.#frames[index] as number
  }

  page(index: number): MemoryPage {
    return new MemoryPage(this.mock.ram, this.frame(index))
  }

  /** The page behind a reference. */
  granted(reference: number): MemoryPage {
    return this.page(Frame.DATA + reference - Ref.DATA)
  }

  #entry(reference: number): number {
    return this.domain.grants.entries.frames[0]!.address + 8 * reference
  }

  #grant(reference: number, index: number, onlyRead: boolean): void {
    const { view } = this.mock
    view.setUint16(this.#entry(reference) + 2, 0, true)
    view.setUint32(this.#entry(reference) + 4, this.frame(index), true)
    view.setUint16(this.#entry(reference), onlyRead ? 5 : 1, true)
  }

  /** EVTCHNOP_alloc_unbound, for dom0. */
  #port(): number {
    this.mock.view.setUint32(AREA, DOMID_SELF, true)
    strictEqual(this.#call(EVENT_CHANNEL_OP, 6), 0)
    return this.mock.view.getUint32(AREA + 4, true)
  }

  #call(number: number, command: number): number {
    const { cpu } = this.mock.effects
    const names = registers[this.setting.kind === 'xen-pv32' ? 'narrow' : 'wide']
    cpu.setRegister(0, 'rax', BigInt(number))
    for (const [i, name] of names.entries()) cpu.setRegister(0, name, BigInt([command, AREA][i] ?? 0))
    this.#hypercall()
    return Number(BigInt.asIntN(32, cpu.register(0, 'rax')))
  }

  /** EVTCHNOP_send; then the backends do their work. */
  notify(ring: 'store' | 'console' | 'block' | 'net'): void {
    this.mock.view.setUint32(AREA, this.#ports[ring], true)
    this.#call(EVENT_CHANNEL_OP, 4)
    this.mock.advance(1_000_000)
  }

  /** As Linux does: nodes, then the state. */
  #node(path: string, value: string | number): void {
    strictEqual(this.store.ask(MessageType.WRITE, `device/${path}\0${value}`), 'OK\0')
  }

  connectBlock(): void {
    const device = 'vbd/51712'
    this.#node(`${device}/state`, 6)
    this.#node(`${device}/state`, 1)
    this.page(Frame.BLOCK).bytes.fill(0)
    this.block = new TestRing(this.page(Frame.BLOCK), 112)
    const nodes = { 'ring-ref': Ref.BLOCK, 'event-channel': this.#ports.block, protocol: 'x86_64-abi' }
    for (const [name, value] of Object.entries(nodes)) this.#node(`${device}/${name}`, value)
    this.#node(`${device}/feature-persistent`, this.setting.persistent ? 1 : 0)
    this.#node(`${device}/state`, 3)
    this.mock.advance(1_000_000)
    strictEqual(this.backendState(device), '4')
  }

  connectNet(): void {
    const device = 'vif/0'
    this.#node(`${device}/state`, 6)
    this.#node(`${device}/state`, 1)
    for (const index of [Frame.TX, Frame.RX]) this.page(index).bytes.fill(0)
    this.tx = new TestRing(this.page(Frame.TX), 12)
    this.rx = new TestRing(this.page(Frame.RX), 8)
    const nodes = {
      'tx-ring-ref': Ref.TX,
      'rx-ring-ref': Ref.RX,
      'event-channel': this.#ports.net,
      'request-rx-copy': 1,
    }
    for (const [name, value] of Object.entries(nodes)) this.#node(`${device}/${name}`, value)
    this.#node(`${device}/state`, 4)
    this.mock.advance(1_000_000)
    strictEqual(this.backendState(device), '4')
  }

  backendState(device: string): string {
    const [kind, id] = device.split('/')
    return this.store.ask(MessageType.READ, `/local/domain/0/backend/${kind}/1/${id}/state\0`)
  }

  /** Pages that were not granted are as they were, and so are those that were for reading: `before`. */
  checkMemory(before: ReadonlyMap<number, Uint8Array>): void {
    for (let i = Frame.PRIVATE; i < FRAMES; i++)
      strictEqual(
        this.page(i).bytes.every((byte) => byte === PATTERN),
        true,
        `page ${i}`,
      )
    for (const [reference, bytes] of before)
      strictEqual(Buffer.compare(this.granted(reference).bytes, bytes), 0, `granted for reading: ${reference}`)
  }

  /** Nothing is in use any more: both bits of each entry are clear. */
  checkGrants(): void {
    for (let reference = Ref.BLOCK; reference < Ref.DATA + DATA_PAGES; reference++)
      strictEqual(this.mock.view.getUint16(this.#entry(reference), true) & 24, 0, `reference ${reference} is in use`)
  }
}

function diskOf({ disk }: Setting, bytes: Uint8Array): Disk {
  const memory = new MemoryDisk(bytes, disk === 'read-only')
  if (disk !== 'raw') return memory
  return {
    size: memory.size,
    readOnly: false,
    read: (offset, into) => memory.read(offset, into),
    write: (offset, from) => memory.write(offset, from),
    flush: (done) => memory.flush(done),
    close: () => {},
  }
}
