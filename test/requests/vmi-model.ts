/** A small model of what VMI's ROM asks of its host: counters, alarms, announced page tables, the local APIC's page. */
export const VCPUS = 2
/** Bytes of RAM: the ROM is at its end. */
export const MEMORY = 0x100000

const EPOCH = BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n
const SHORTEST = 10_000

interface Alarm {
  expiry: number
  period: number
  lvtt: boolean
}

/** Results are EAX, EDX:EAX or an error's name. */
export type Result = number | bigint | string | undefined

export class Model {
  readonly log: string[] = []
  readonly stolen = Array.from({ length: VCPUS }, () => 0)
  now = 0
  readonly #alarms = Array.from({ length: VCPUS }, (): (Alarm | undefined)[] => [undefined, undefined])
  readonly #apic = Array.from({ length: VCPUS }, () => new Map<number, number>())
  readonly #tables = new Set<number>()

  counter(vcpu: number, counter: number): number {
    const stolen = this.stolen[vcpu] as number
    return counter === 0 ? this.now : counter === 1 ? this.now - stolen : counter === 2 ? stolen : 0
  }

  /** What is due happens, in the order of time and then of setting. */
  advance(nanoseconds: number): void {
    const end = this.now + nanoseconds
    for (;;) {
      let [first, at] = [undefined as (() => void) | undefined, Infinity]
      for (let vcpu = 0; vcpu < VCPUS; vcpu++)
        for (const counter of [0, 1]) {
          const alarm = this.#alarms[vcpu]?.[counter]
          if (!alarm) continue
          const due = Math.max(this.now, alarm.expiry + (counter === 1 ? (this.stolen[vcpu] as number) : 0))
          if (due < at) [first, at] = [() => this.#fire(vcpu, counter, alarm), due]
        }
      if (!first || at > end) break
      this.now = at
      first()
    }
    this.now = end
  }

  #fire(vcpu: number, counter: number, alarm: Alarm): void {
    const alarms = this.#alarms[vcpu] as (Alarm | undefined)[]
    if (alarm.period === 0) alarms[counter] = undefined
    else {
      const period = Math.max(alarm.period, SHORTEST)
      do alarm.expiry += period
      while (alarm.expiry <= this.counter(vcpu, counter))
    }
    const entry = this.#apic[vcpu]?.get(0x320) ?? 0
    if (!alarm.lvtt) this.log.push('isa 0')
    else if ((entry & 0x10000) === 0) this.log.push(`post ${vcpu} 0x${(entry & 0xff).toString(16)}`)
  }

  call(vcpu: number, number: number, [a, b, c, d, e]: readonly [number, number, number, number, number]): Result {
    switch (number) {
      case 36:
        this.log.push('reset')
        return undefined
      case 44:
        return this.#allocate(a, b, c, d, e)
      case 45:
        if (!oneLevel(b)) return 'bad flags'
        return this.#tables.delete(a) ? undefined : 'no table'
      case 63:
        this.#apic[vcpu]?.set(a & 0xfff, b)
        return undefined
      case 64:
        return this.#apic[vcpu]?.get(a & 0xfff) ?? 0
      case 66:
        return 1_000_000_000n
      case 67:
        return BigInt.asUintN(64, BigInt(this.counter(vcpu, a)))
      case 68:
        return this.#set(vcpu, a, c * 2 ** 32 + b, e * 2 ** 32 + d)
      case 69: {
        const alarms = this.#alarms[vcpu] as (Alarm | undefined)[]
        const was = alarms[a & 0xff] !== undefined
        if ((a & 0xff) < 2) alarms[a & 0xff] = undefined
        return Number(was)
      }
      case 70:
        return EPOCH + BigInt(this.now)
      case 71:
        return 0
    }
    return undefined
  }

  #set(vcpu: number, flags: number, expiry: number, period: number): Result {
    if ((flags & 0xff) > 1) return 'no counter'
    const alarms = this.#alarms[vcpu] as (Alarm | undefined)[]
    alarms[flags & 0xff] = { expiry, period: flags & 0x100 ? period : 0, lvtt: (flags & 0x10000) !== 0 }
    return undefined
  }

  #allocate(page: number, flags: number, clone: number, first: number, count: number): Result {
    const copied = (flags & 0x20) !== 0
    if (!oneLevel(flags) || (copied && first + count > 1024)) return 'bad flags'
    if (page >= MEMORY / 4096 || (copied && clone >= MEMORY / 4096)) return 'no page'
    this.#tables.add(page)
    return undefined
  }
}

const oneLevel = (flags: number) => flags >>> 7 === 0 && [1, 2, 4, 8].includes(flags & 15)
