/**
 * A debugger that is connected (GDB manual, "GDB Remote Serial Protocol"): vCPUs are threads, all stop and go on
 * together; a step is one thread's alone, without interrupts.
 */
import type { Debugger, Stop, WatchKind } from '../machine/debugger.ts'
import { bytesOf, hexOf, Packets } from './packets.ts'
import { monitor } from './monitor.ts'
import { type GdbRegister, targets } from './target.ts'

/** What a session needs of a machine. */
export interface Debugged {
  readonly debugger: Debugger
  pause(): Promise<void>
  resume(): void
}

export interface SessionOptions {
  readonly machine: Debugged
  readonly bits: 64 | 32
  readonly write: (text: string) => void
  /** GDB wants the machine to end. */
  readonly onKill: () => void
  /** GDB has gone; the machine goes on. */
  readonly onDetach: () => void
  /** Lines of `monitor requests`. */
  readonly requests: () => readonly string[]
}

const SIGINT = '02'
const SIGTRAP = '05'
const PACKET = 0x4000
/** Bytes that one packet reads at most. */
const LONGEST_READ = PACKET >> 1
const ERROR = 'E01'
const OK = 'OK'
const WATCHES: Readonly<Record<string, WatchKind>> = { 2: 'write', 3: 'read', 4: 'access' }
const WATCH_NAMES: Readonly<Record<WatchKind, string>> = { write: 'watch', read: 'rwatch', access: 'awatch' }

export class Session {
  readonly #options: SessionOptions
  readonly #packets: Packets
  readonly #debugger: Debugger
  /** vCPU of registers and memory, from 0. */
  #selected = 0
  #running = false
  #reason = SIGTRAP

  /** The machine is at rest. */
  constructor(options: SessionOptions) {
    this.#options = options
    this.#debugger = options.machine.debugger
    this.#packets = new Packets(
      { packet: (data) => this.#packet(data), interrupt: () => void this.#interrupt() },
      options.write,
    )
    this.#debugger.onStop = (stop) => void this.#stopped(stop)
  }

  receive(piece: string): void {
    this.#packets.receive(piece)
  }

  /** The machine has ended. */
  end(code: number): void {
    if (this.#running) this.#packets.send(`W${code.toString(16).padStart(2, '0')}`)
  }

  /** GDB is gone, with or without a word. */
  close(): void {
    this.#debugger.detach()
    if (!this.#running) this.#options.machine.resume()
    this.#running = true
  }

  async #interrupt(): Promise<void> {
    if (!this.#running) return
    await this.#options.machine.pause()
    this.#rest(this.#debugger.current, SIGINT, '')
  }

  async #stopped({ vcpu, reason, address }: Stop): Promise<void> {
    if (!this.#running) return
    await this.#options.machine.pause()
    this.#rest(vcpu, SIGTRAP, reason === 'breakpoint' ? 'swbreak:;' : `${WATCH_NAMES[reason]}:${address.toString(16)};`)
  }

  #rest(vcpu: number, signal: string, detail: string): void {
    if (!this.#running) return
    this.#running = false
    this.#selected = vcpu
    this.#reason = `T${signal}thread:${(vcpu + 1).toString(16)};${detail}`
    this.#packets.send(this.#reason)
  }

  #goOn(): void {
    this.#running = true
    // A vCPU that stands at a breakpoint makes one step first, which may stop it.
    this.#debugger.leave()
    if (this.#running) this.#options.machine.resume()
  }

  #step(vcpu: number): void {
    let hit = ''
    this.#debugger.onStop = ({ reason, address }) => {
      if (reason !== 'breakpoint') hit = `${WATCH_NAMES[reason]}:${address.toString(16)};`
    }
    this.#debugger.step(vcpu)
    this.#debugger.onStop = (stop) => void this.#stopped(stop)
    this.#running = true
    this.#rest(vcpu, SIGTRAP, hit)
  }

  #packet(data: string): void {
    if (this.#running) return
    const answer = this.#answer(data)
    if (answer !== undefined) this.#packets.send(answer)
  }

  /** Undefined: the answer comes later, or never. */
  #answer(data: string): string | undefined {
    const rest = data.slice(1)
    switch (data[0]) {
      case '?':
        return `T${SIGTRAP}thread:${(this.#selected + 1).toString(16)};`
      case 'g':
        return this.#registers.map((register) => this.#read(register)).join('')
      case 'G':
        return this.#writeAll(rest)
      case 'p': {
        const register = this.#registers[Number.parseInt(rest, 16)]
        return register ? this.#read(register) : ERROR
      }
      case 'P':
        return this.#writeOne(rest)
      case 'm':
        return this.#readMemory(rest)
      case 'M':
      case 'X':
        return this.#writeMemory(data)
      case 'Z':
      case 'z':
        return this.#point(data)
      case 'H':
        return this.#select(rest.slice(1))
      case 'T':
        return this.#thread(rest) === undefined ? ERROR : OK
      case 'c':
      case 'C':
        return void this.#goOn()
      case 's':
      case 'S':
        return void this.#step(this.#selected)
      case 'D':
        this.#packets.send(OK)
        this.close()
        return void this.#options.onDetach()
      case 'k':
        return void this.#options.onKill()
      case 'v':
        return this.#verbose(data)
      case 'q':
      case 'Q':
        return this.#query(data)
      default:
        return ''
    }
  }

  // Registers

  get #registers(): readonly GdbRegister[] {
    return targets[this.#options.bits].registers
  }

  get #p(): number {
    return this.#debugger.core.vcpus[this.#selected] as number
  }

  #read({ bits, read }: GdbRegister): string {
    const value = read(this.#debugger.core, this.#p)
    const bytes = Uint8Array.from({ length: bits >> 3 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn))
    return hexOf(bytes)
  }

  #writeAll(hex: string): string {
    let at = 0
    for (const register of this.#registers) {
      const digits = register.bits >> 2
      const piece = hex.slice(at, at + digits)
      if (piece.length === digits && piece !== this.#read(register))
        register.write?.(this.#debugger.core, this.#p, fromHex(piece))
      at += digits
    }
    return OK
  }

  #writeOne(text: string): string {
    const [index = '', hex = ''] = text.split('=')
    const register = this.#registers[Number.parseInt(index, 16)]
    if (!register?.write || hex.length !== register.bits >> 2) return ERROR
    register.write(this.#debugger.core, this.#p, fromHex(hex))
    return OK
  }

  // Memory

  #readMemory(text: string): string {
    const [address, length] = text.split(',').map((part) => BigInt(`0x${part}`))
    const count = Math.min(Number(length), LONGEST_READ)
    const bytes = this.#debugger.read(this.#selected, address as bigint, count)
    return bytes.length === 0 && count > 0 ? ERROR : hexOf(bytes)
  }

  #writeMemory(data: string): string {
    const colon = data.indexOf(':')
    const [address, length] = data
      .slice(1, colon)
      .split(',')
      .map((part) => BigInt(`0x${part}`))
    const content = data.slice(colon + 1)
    const bytes = data[0] === 'M' ? bytesOf(content) : Uint8Array.from(content, (c) => c.charCodeAt(0))
    if (bytes.length !== Number(length)) return ERROR
    return this.#debugger.write(this.#selected, address as bigint, bytes) ? OK : ERROR
  }

  #point(data: string): string {
    const [type = '', address = '0', length = '1'] = data.slice(1).split(/[,;]/)
    const linear = BigInt(`0x${address}`)
    const set = data[0] === 'Z'
    if (type === '0' || type === '1') {
      if (set) this.#debugger.setBreakpoint(linear)
      else this.#debugger.clearBreakpoint(linear)
      return OK
    }
    const kind = WATCHES[type]
    if (!kind) return ''
    const bytes = Number.parseInt(length, 16)
    const done = set
      ? this.#debugger.setWatchpoint(kind, linear, bytes, this.#selected)
      : this.#debugger.clearWatchpoint(kind, linear, bytes)
    return done ? OK : ERROR
  }

  // Threads

  /** The vCPU of a thread's number; 0 and -1 are any. */
  #thread(text: string): number | undefined {
    const number = text.startsWith('-') ? 0 : Number.parseInt(text, 16)
    if (number === 0) return this.#selected
    return number >= 1 && number <= this.#debugger.vcpus ? number - 1 : undefined
  }

  #select(text: string): string {
    const vcpu = this.#thread(text)
    if (vcpu === undefined) return ERROR
    this.#selected = vcpu
    return OK
  }

  #verbose(data: string): string | undefined {
    if (data === 'vCont?') return 'vCont;c;C;s;S'
    if (data.startsWith('vCont;')) {
      const steps = data
        .slice(6)
        .split(';')
        .find((action) => /^[sS]/.test(action))
      if (steps === undefined) return void this.#goOn()
      const [, thread = '0'] = steps.split(':')
      const vcpu = this.#thread(thread)
      return vcpu === undefined ? ERROR : void this.#step(vcpu)
    }
    if (data.startsWith('vKill')) {
      this.#packets.send(OK)
      return void this.#options.onKill()
    }
    return ''
  }

  #query(data: string): string | undefined {
    const [name = '', ...parts] = data.split(':')
    switch (name) {
      case 'qSupported':
        return `PacketSize=${PACKET.toString(16)};qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;QStartNoAckMode+`
      case 'QStartNoAckMode':
        this.#packets.send(OK)
        this.#packets.silent = true
        return undefined
      case 'qXfer':
        return this.#transfer(parts)
      case 'qC':
        return `QC${(this.#selected + 1).toString(16)}`
      case 'qAttached':
        return '1'
      case 'qfThreadInfo':
        return `m${Array.from({ length: this.#debugger.vcpus }, (_, i) => (i + 1).toString(16)).join(',')}`
      case 'qsThreadInfo':
        return 'l'
      case 'qSymbol':
        return OK
      default:
    }
    if (data.startsWith('qThreadExtraInfo,')) {
      const vcpu = this.#thread(data.slice(17))
      return vcpu === undefined ? ERROR : hexOf(bytesFrom(`vCPU ${vcpu}, ${this.#debugger.state(vcpu)}`))
    }
    if (data.startsWith('qRcmd,')) {
      const command = new TextDecoder().decode(bytesOf(data.slice(6)))
      if (command.trim() === 'quit') this.#options.onKill()
      const lines = monitor(command, this.#debugger, this.#selected, this.#options.requests)
      return hexOf(bytesFrom(lines.map((line) => `${line}\n`).join(''))) || OK
    }
    return ''
  }

  #transfer([object, verb, annex, range = '']: readonly string[]): string {
    if (object !== 'features' || verb !== 'read' || annex !== 'target.xml') return ''
    const [offset = 0, length = 0] = range.split(',').map((part) => Number.parseInt(part, 16))
    const { xml } = targets[this.#options.bits]
    const piece = xml.slice(offset, offset + length)
    return `${offset + piece.length < xml.length ? 'm' : 'l'}${piece}`
  }
}

const bytesFrom = (text: string) => new TextEncoder().encode(text)

/** Little-endian. */
function fromHex(hex: string): bigint {
  return bytesOf(hex).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
}
