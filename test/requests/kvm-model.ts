/**
 * A small model of KVM's interface: what each request must answer, do and write. It knows the documents, not the
 * implementation: registers are a table, memory a copy of the guest's.
 */
export const VCPUS = 3
/** Bytes of RAM: so few that areas overlap. */
export const MEMORY = 2 * 4096

const BOOT_TIME = BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n
const U32 = 0xffff_ffffn
const U64 = (1n << 64n) - 1n

export const Msrs = {
  OLD_WALL_CLOCK: 0x11,
  OLD_SYSTEM_TIME: 0x12,
  WALL_CLOCK: 0x4b564d00,
  SYSTEM_TIME: 0x4b564d01,
  ASYNC_PF_EN: 0x4b564d02,
  STEAL_TIME: 0x4b564d03,
  PV_EOI_EN: 0x4b564d04,
  POLL_CONTROL: 0x4b564d05,
  ASYNC_PF_INT: 0x4b564d06,
  ASYNC_PF_ACK: 0x4b564d07,
  MIGRATION_CONTROL: 0x4b564d08,
} as const

const featureOf: Readonly<Record<number, string>> = {
  [Msrs.OLD_WALL_CLOCK]: 'old-kvmclock',
  [Msrs.OLD_SYSTEM_TIME]: 'old-kvmclock',
  [Msrs.WALL_CLOCK]: 'kvmclock',
  [Msrs.SYSTEM_TIME]: 'kvmclock',
  [Msrs.ASYNC_PF_EN]: 'async-pf',
  [Msrs.STEAL_TIME]: 'steal-time',
  [Msrs.PV_EOI_EN]: 'pv-eoi',
  [Msrs.POLL_CONTROL]: 'poll-control',
  [Msrs.ASYNC_PF_INT]: 'async-pf-int',
  [Msrs.ASYNC_PF_ACK]: 'async-pf-int',
  [Msrs.MIGRATION_CONTROL]: 'migration-control',
}

interface Vcpu {
  time: bigint
  steal: bigint
  eoi: bigint
  faults: bigint
  vector: bigint
  poll: bigint
  /** All are to be woken. */
  wake: boolean
  /** Of what was stolen, what the guest has been told. */
  told: number
  stolen: number
  offset: bigint
  /** The offset that the clock pages have. */
  shown: bigint
  apic: boolean
}

export class Model {
  readonly features: ReadonlySet<string>
  readonly ram = new Uint8Array(MEMORY)
  readonly log: string[] = []
  readonly vcpus: readonly Vcpu[]
  now = 0
  #wall = 0n
  #migration = 1n
  #old = false
  readonly #view = new DataView(this.ram.buffer)

  constructor(features: ReadonlySet<string>) {
    this.features = features
    this.vcpus = Array.from({ length: VCPUS }, () => ({
      time: 0n,
      steal: 0n,
      eoi: 0n,
      faults: 0n,
      vector: 0n,
      poll: 1n,
      wake: false,
      told: 0,
      stolen: 0,
      offset: 0n,
      shown: 0n,
      apic: true,
    }))
  }

  vcpu(index: number): Vcpu {
    return this.vcpus[index] as Vcpu
  }

  #inside(address: bigint, length: number): boolean {
    return address + BigInt(length) <= BigInt(MEMORY)
  }

  #has(msr: number): boolean {
    const feature = featureOf[msr]
    return feature !== undefined && this.features.has(feature)
  }

  // MSRs

  read(index: number, msr: number): bigint | '#GP' {
    if (!this.#has(msr)) return '#GP'
    const { time, steal, eoi, faults, vector, poll } = this.vcpu(index)
    switch (msr) {
      case Msrs.OLD_WALL_CLOCK:
      case Msrs.WALL_CLOCK:
        return this.#wall
      case Msrs.OLD_SYSTEM_TIME:
      case Msrs.SYSTEM_TIME:
        return time
      case Msrs.ASYNC_PF_EN:
        return faults
      case Msrs.STEAL_TIME:
        return steal
      case Msrs.PV_EOI_EN:
        return eoi
      case Msrs.POLL_CONTROL:
        return poll
      case Msrs.ASYNC_PF_INT:
        return vector
      case Msrs.MIGRATION_CONTROL:
        return this.#migration
      default:
        return 0n
    }
  }

  write(index: number, msr: number, value: bigint): 0n | '#GP' {
    return this.#has(msr) && this.#write(index, msr, value) ? 0n : '#GP'
  }

  #write(index: number, msr: number, value: bigint): boolean {
    const vcpu = this.vcpu(index)
    const on = (value & 1n) === 1n
    switch (msr) {
      case Msrs.OLD_WALL_CLOCK:
      case Msrs.WALL_CLOCK:
        this.#wall = value
        if (value !== 0n && this.#inside(value, 12)) {
          const at = Number(value)
          this.#bump(at)
          this.#view.setUint32(at + 4, Number(BOOT_TIME / 1_000_000_000n), true)
          this.#view.setUint32(at + 8, Number(BOOT_TIME % 1_000_000_000n), true)
        }
        return true
      case Msrs.OLD_SYSTEM_TIME:
      case Msrs.SYSTEM_TIME: {
        vcpu.time = value
        const old = msr === Msrs.OLD_SYSTEM_TIME
        if (index === 0 && old !== this.#old) {
          this.#old = old
          this.#clocks()
        } else this.#clock(index)
        return true
      }
      case Msrs.ASYNC_PF_EN:
        if (value & 0x34n || (value & 8n && !this.features.has('async-pf-int'))) return false
        if ((value & 9n) === 9n && !this.#inside(value & ~63n, 8)) return false
        vcpu.faults = value
        vcpu.wake = (value & 9n) === 9n
        this.#ready(index)
        return true
      case Msrs.STEAL_TIME:
        if (value & 0x3en) return false
        vcpu.steal = value
        this.#running(index)
        return true
      case Msrs.PV_EOI_EN:
        if (value & 2n || (on && !this.#inside(value & ~1n, 1))) return false
        vcpu.eoi = value
        return true
      case Msrs.ASYNC_PF_INT:
        if (value > 255n) return false
        vcpu.vector = value
        return true
      case Msrs.ASYNC_PF_ACK:
        if (on) this.#ready(index)
        return true
      default:
        if (value > 1n) return false
        if (msr === Msrs.POLL_CONTROL) vcpu.poll = value
        else this.#migration = value
        return true
    }
  }

  /** The version in memory becomes the even one after the next odd one. */
  #bump(at: number): void {
    const version = this.#view.getUint32(at, true)
    this.#view.setUint32(at, version + (version % 2 === 0 ? 2 : 3), true)
  }

  #clocks(): void {
    for (let index = 0; index < VCPUS; index++) this.#clock(index)
  }

  #clock(index: number): void {
    const { time, offset } = this.vcpu(index)
    const at = Number(BigInt.asUintN(53, time & ~1n))
    if ((time & 1n) === 0n || !this.#inside(time & ~1n, 32) || (at % 4096) + 32 > 4096) return
    this.#bump(at)
    this.#view.setUint32(at + 4, 0, true)
    this.#view.setBigUint64(at + 8, (BigInt(this.now) + offset) & U64, true)
    this.#view.setBigUint64(at + 16, BigInt(this.now), true)
    this.#view.setUint32(at + 24, 0x8000_0000, true)
    this.#view.setUint8(at + 28, 1)
    const stable = !this.#old && this.vcpus.every((other) => other.offset === this.vcpu(0).offset)
    this.#view.setUint8(at + 29, (this.ram[at + 29]! & 2) | (stable ? 1 : 0))
    this.#view.setUint16(at + 30, 0, true)
  }

  #running(index: number): void {
    const vcpu = this.vcpu(index)
    const address = vcpu.steal & ~63n
    if ((vcpu.steal & 1n) === 0n || !this.#inside(address, 64)) return
    const at = Number(address)
    if (this.features.has('pv-tlb-flush') && this.ram[at + 16]! & 2) this.log.push(`flush ${index} all`)
    this.ram[at + 16] = 0
    this.#view.setBigUint64(at, (this.#view.getBigUint64(at, true) + BigInt(vcpu.stolen - vcpu.told)) & U64, true)
    vcpu.told = vcpu.stolen
    this.#bump(at + 8)
  }

  #ready(index: number): void {
    const { wake, faults, vector, apic } = this.vcpu(index)
    const at = Number(faults & ~63n) + 4
    if (!wake || !apic || this.#view.getUint32(at, true) !== 0) return
    this.vcpu(index).wake = false
    this.#view.setUint32(at, 0xffff_ffff, true)
    this.log.push(`post ${index} 0x${vector.toString(16)}`)
  }

  // A vCPU's life

  turn(index: number): void {
    const { steal } = this.vcpu(index)
    const address = steal & ~63n
    // The end of a turn, and the beginning of the next.
    if (steal & 1n && this.#inside(address + 16n, 1)) this.ram[Number(address) + 16] = 1
  }

  enter(index: number): void {
    const vcpu = this.vcpu(index)
    if (vcpu.offset !== vcpu.shown) {
      vcpu.shown = vcpu.offset
      this.#clocks()
    }
    this.#running(index)
    this.#ready(index)
  }

  /** An interrupt that needs no EOI. */
  offer(index: number): void {
    const { eoi } = this.vcpu(index)
    if (eoi & 1n) this.ram[Number(eoi & ~1n)] = 1
  }

  withdraw(index: number): boolean {
    const { eoi } = this.vcpu(index)
    if ((eoi & 1n) === 0n) return false
    const at = Number(eoi & ~1n)
    const used = (this.ram[at]! & 1) === 0
    if (!used) this.ram[at] = 0
    return used
  }

  init(index: number): void {
    Object.assign(this.vcpu(index), { time: 0n, steal: 0n, eoi: 0n, faults: 0n, vector: 0n, wake: false })
  }

  // Hypercalls

  /** RAX. */
  call(index: number, number: bigint, values: readonly bigint[], wide: boolean, privilege: number): bigint {
    const mask = wide ? U64 : U32
    return (
      this.#call(
        index,
        number & mask,
        values.map((value) => value & mask),
        wide,
        privilege,
      ) & mask
    )
  }

  #call(index: number, number: bigint, values: readonly bigint[], wide: boolean, privilege: number): bigint {
    if (privilege !== 0) return -1n
    const [a0 = 0n, a1 = 0n, a2 = 0n, a3 = 0n] = values
    const yieldTo = (target: bigint) => {
      if (target < BigInt(VCPUS) && target !== BigInt(index)) this.log.push(`yield ${target}`)
    }
    switch (number) {
      case 1n:
        return 0n
      case 5n:
        if (!this.features.has('pv-unhalt')) return -1000n
        if ((a1 & U32) < BigInt(VCPUS)) this.log.push(`wake ${a1 & U32}`)
        yieldTo(a1 & U32)
        return 0n
      case 9n:
        if (a1 !== 0n) return -95n
        if (!this.#inside(a0, 64)) return -14n
        this.#pair(index, Number(a0))
        return 0n
      case 10n:
        return this.features.has('pv-send-ipi') ? this.#send(a0 | (a1 << (wide ? 64n : 32n)), a2, a3, wide) : -1000n
      case 11n:
        if (!this.features.has('pv-sched-yield')) return -1000n
        yieldTo(a0)
        return 0n
      default:
        return -1000n
    }
  }

  #pair(index: number, at: number): void {
    const wall = BOOT_TIME + BigInt(this.now)
    this.ram.fill(0, at, at + 64)
    this.#view.setBigInt64(at, wall / 1_000_000_000n, true)
    this.#view.setBigInt64(at + 8, wall % 1_000_000_000n, true)
    this.#view.setBigUint64(at + 16, (BigInt(this.now) + this.vcpu(index).offset) & U64, true)
  }

  #send(mask: bigint, first: bigint, icr: bigint, wide: boolean): bigint {
    if (icr & 0xc0800n) return -22n
    const word = Number(icr & U32)
    const mode = (word >> 8) & 7
    const deasserted = (word & 0x8000) !== 0 && (word & 0x4000) === 0
    if (mode === 2 || mode === 3 || mode === 7 || deasserted) return 0n
    let sent = 0n
    const half = wide ? 64n : 32n
    for (let bit = 0n; bit < 2n * half; bit++) {
      if (((mask >> bit) & 1n) === 0n) continue
      // Each half counts from its own first id, which has 32 bits; the sum with a bit's number has more.
      const start = bit < half ? first & U32 : (first + half) & U32
      const id = start + (bit % half)
      if (id >= BigInt(VCPUS) || !this.vcpu(Number(id)).apic) continue
      this.log.push(`message ${id} 0x${word.toString(16)}`)
      sent++
    }
    return sent
  }
}
