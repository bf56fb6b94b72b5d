/**
 * A small model of VMware's interface: what each command must answer and do to registers and memory. It knows the
 * protocol, not the implementation: a channel is a state and two strings of bytes.
 */
export const VCPUS = 2
/** Bytes of RAM. */
export const MEMORY = 4 * 4096

const EPOCH = BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n
const MAGIC = 0x564d5868
const FAILED = 0xffff_ffff

export interface Registers {
  eax: number
  ebx: number
  ecx: number
  edx: number
  esi: number
  edi: number
  ebp: number
}

interface Channel {
  readonly tclo: boolean
  readonly cookie: readonly [high: number, low: number] | undefined
  /** Undefined: nothing is being sent. */
  wanted: number | undefined
  sent: number[]
  answer: number[] | undefined
  read: number
}

export class Model {
  readonly features: ReadonlySet<string>
  readonly ram = new Uint8Array(MEMORY)
  readonly log: string[] = []
  readonly stolen = Array.from({ length: VCPUS }, () => 0)
  now = 0
  readonly #clocks: (number | undefined)[] = Array.from({ length: VCPUS })
  readonly #channels = new Map<number, Channel>()
  readonly #info = new Map<string, string>()
  readonly #view = new DataView(this.ram.buffer)

  constructor(features: ReadonlySet<string>) {
    this.features = features
  }

  /** Ids of the open channels. */
  get open(): number[] {
    return [...this.#channels.keys()]
  }

  cookie(id: number): readonly [number, number] {
    return this.#channels.get(id)?.cookie ?? [0, 0]
  }

  /** What the implementation chose for a channel that has just been opened. */
  learn(id: number, high: number, low: number): void {
    const channel = this.#channels.get(id)
    if (channel?.cookie) this.#channels.set(id, { ...channel, cookie: [high, low] })
  }

  enter(vcpu: number): void {
    const at = this.#clocks[vcpu]
    if (at !== undefined) this.#view.setBigUint64(at, BigInt(this.stolen[vcpu] as number), true)
  }

  init(vcpu: number): void {
    this.#clocks[vcpu] = undefined
  }

  /** RDPMC. */
  counter(index: number): bigint | undefined {
    const known = index >= 0x10000 && index <= 0x10002 && this.features.has('pseudo-counters')
    return known ? BigInt(this.now) : undefined
  }

  // Commands: EAX; other registers change in `r`

  command(vcpu: number, privilege: number, r: Registers): number {
    const micro = (EPOCH + BigInt(this.now)) / 1000n
    const seconds = Number(micro / 1_000_000n)
    const number = r.ecx & 0xffff
    const full = () => {
      Object.assign(r, { ebx: Number(micro % 1_000_000n), ecx: 1_000_000, edx: seconds, esi: 0 })
      return r.eax
    }
    switch (number) {
      case 1:
        return 1000
      case 10:
        r.ebx = MAGIC
        r.ecx = 2
        return 6
      case 17:
        return 19
      case 20:
        return 0
      case 23:
        Object.assign(r, { ebx: Number(micro % 1_000_000n), ecx: 1_000_000, edx: 0 })
        return seconds
      case 30:
        return this.#message(r)
      case 45:
        Object.assign(r, { ebx: 0, ecx: 25_000_000 })
        return 1_000_000_000
      case 46:
        return full()
      case 55:
        r.edi = 0
        return full()
      case 68:
        return this.features.has('vcpu-info') ? 10 : FAILED
      case 91:
        return this.features.has('steal-clock') && privilege === 0 && r.ebx === 0 ? this.#stealClock(vcpu, r) : FAILED
      default:
        return FAILED
    }
  }

  #stealClock(vcpu: number, { esi, edi }: Registers): number {
    if (esi === 0 && edi === 1) {
      this.#clocks[vcpu] = undefined
      return 0
    }
    if (esi !== 0 || edi % 64 !== 0 || edi >= MEMORY) return FAILED
    this.#clocks[vcpu] = edi
    this.enter(vcpu)
    return 1
  }

  // Messages: status in ECX's upper half

  #message(r: Registers): number {
    const type = r.ecx >>> 16
    if (!this.features.has('messages') || type > 6) return FAILED
    r.ecx = ((this.#typed(type, r) << 16) | 30) >>> 0
    return r.eax
  }

  #typed(type: number, r: Registers): number {
    if (type === 0) return this.#opened(r)
    const id = r.edx >>> 16
    const channel = this.#find(id, r.esi, r.edi)
    if (!channel) return 0
    const upper = (value: number) => (r.edx = ((value << 16) | (r.edx & 0xffff)) >>> 0)
    switch (type) {
      case 1:
        if (r.ebx > 0x10000) return 0
        Object.assign(channel, { wanted: r.ebx, sent: [], answer: undefined })
        if (r.ebx === 0) this.#complete(channel)
        return 0x81
      case 2: {
        const missing = channel.wanted === undefined ? 0 : channel.wanted - channel.sent.length
        const bytes = [0, 8, 16, 24].map((shift) => (r.ebx >>> shift) & 0xff)
        return missing > 0 && this.#send(channel, bytes.slice(0, missing)) ? 1 : 0
      }
      case 3:
        if (!channel.answer) return 1
        channel.read = 0
        r.ebx = channel.answer.length
        upper(1)
        return 0x83
      case 4: {
        if ((r.ebx & 1) === 0) return this.#drop(channel)
        const bytes = channel.answer?.slice(channel.read, channel.read + 4) ?? []
        if (bytes.length === 0) return 0
        channel.read += bytes.length
        r.ebx = bytes.reduce((word, byte, i) => word + byte * 2 ** (8 * i), 0)
        upper(2)
        return 1
      }
      case 5:
        return this.#drop(channel)
      default:
        this.#channels.delete(id)
        return 1
    }
  }

  #opened(r: Registers): number {
    const protocol = r.ebx & 0x7fff_ffff
    const id = [0, 1, 2, 3, 4, 5, 6, 7].find((candidate) => !this.#channels.has(candidate))
    if ((protocol !== 0x49435052 && protocol !== 0x4f4c4354) || id === undefined) return 0
    const cookie = r.ebx & 0x8000_0000 ? ([0, 0] as const) : undefined
    const tclo = protocol === 0x4f4c4354
    this.#channels.set(id, { tclo, cookie, wanted: undefined, sent: [], answer: undefined, read: 0 })
    Object.assign(r, { edx: ((id << 16) | (r.edx & 0xffff)) >>> 0, esi: 0, edi: 0 })
    return 1
  }

  #find(id: number, high: number, low: number): Channel | undefined {
    const channel = this.#channels.get(id)
    const right = !channel?.cookie || (channel.cookie[0] === high && channel.cookie[1] === low)
    return right ? channel : undefined
  }

  #drop(channel: Channel): number {
    if (!channel.answer) return 0
    channel.answer = undefined
    return 1
  }

  #send(channel: Channel, bytes: readonly number[]): boolean {
    if (channel.wanted === undefined || channel.sent.length + bytes.length > channel.wanted) return false
    channel.sent.push(...bytes)
    if (channel.sent.length === channel.wanted) this.#complete(channel)
    return true
  }

  #complete(channel: Channel): void {
    const text = String.fromCharCode(...channel.sent)
    channel.wanted = undefined
    channel.read = 0
    if (!channel.tclo) channel.answer = [...this.#reply(text)].map((c) => c.charCodeAt(0))
  }

  /** All requests here are ASCII. */
  #reply(text: string): string {
    if (/^log( |$)/.test(text)) {
      this.log.push(`report log: ${text.slice(4).trimEnd()}`)
      return '1 '
    }
    const get = /^info-get (guestinfo\..*)$/.exec(text)
    if (get) return this.#info.has(get[1]!) ? `1 ${this.#info.get(get[1]!)}` : '0 No value found'
    const set = /^info-set (guestinfo\.[^ ]*) ?(.*)$/.exec(text)
    if (!set) return '0 Unknown command'
    this.#info.set(set[1]!, set[2]!)
    return '1 '
  }

  // The high-bandwidth form

  /** Move bytes; undefined: refused, and the status becomes 0. */
  high(out: boolean, r: Registers, bytes: readonly number[], count: number): number[] | undefined {
    const [high, low] = out ? [r.ebp, r.edi] : [r.esi, r.ebp]
    const channel = this.#find(r.edx >>> 16, high, low)
    const asked = this.features.has('messages') && r.ebx % 65536 === 0 && (r.ebx >>> 16) % 2 === 1
    if (asked && channel) {
      if (out && this.#send(channel, bytes)) return []
      if (!out && channel.answer && channel.read + count <= channel.answer.length) {
        channel.read += count
        return channel.answer.slice(channel.read - count, channel.read)
      }
    }
    r.ebx &= 0xffff
    return undefined
  }
}
