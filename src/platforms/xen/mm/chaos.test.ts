/**
 * Random sequences of everything by which a guest can change its page tables. After each step all references are
 * counted over again; a step that was refused has changed no reference. A failure says its seed.
 */
import { describe, expect, it } from 'vitest'
import { Errno } from '../errno.ts'
import { PRESENT, RW, TABLE_SHIFT, USER } from './entries.ts'
import { PINNED, TYPE, Type } from './frame-table.ts'
import { Mmuext } from './mmuext-op.ts'
import { audit, FIRST_OWN, type Holder, TestCalls } from './testing.ts'
import { emulateStore, isEmulated } from './write-emulation.ts'
import { changeReservation, Reservation } from './reservation.ts'

const SEEDS = 25
const STEPS = 250
const FRAMES = 32
const VCPUS = 2

function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

class Session {
  readonly host: TestCalls
  readonly #random: (below: number) => number
  readonly #narrow: boolean
  readonly steps: string[] = []

  constructor(seed: number, narrow: boolean) {
    this.#random = random(seed)
    this.#narrow = narrow
    this.host = new TestCalls({ frames: FRAMES, vcpus: VCPUS, own: FRAMES - FIRST_OWN - 4, narrow })
    const { frames } = this.host
    // Tables that some of the domain's frames could be.
    for (let frame = FIRST_OWN; frame < FRAMES; frame++)
      for (let i = 0; i < 6; i++) frames.words.set(halves(this.#entry()), frames.at(frame, this.#slot()))
  }

  #pick<T>(...values: readonly T[]): T {
    return values[this.#random(values.length)] as T
  }

  #slot(): number {
    return this.#narrow
      ? this.#pick(0, 1, 2, 3, 3, 4, 427, 428, 511)
      : this.#pick(0, 1, 2, 3, 255, 256, 258, 271, 272, 511)
  }

  #frame(): number {
    return this.#random(16) === 0 ? this.#pick(0, 1, 4, FRAMES, 0xfffff) : FIRST_OWN + this.#random(FRAMES - FIRST_OWN)
  }

  #entry(): bigint {
    const flags = this.#pick(0, PRESENT, PRESENT, PRESENT | RW, PRESENT | RW | USER, PRESENT | USER, PRESENT | 0x60)
    const odd = this.#random(40) === 0 ? this.#pick(0x80, 0x100, 0x10) : 0
    const high = this.#random(12) === 0 ? this.#pick(1n << 52n, 1n << 63n, 1n << 40n) : 0n
    return (BigInt(this.#frame()) << 12n) | BigInt(flags | odd) | high
  }

  step(): void {
    const { host } = this
    const { table } = host.frames
    const vcpu = this.#random(VCPUS)
    host.call.vcpu = vcpu
    const frame = this.#frame()
    switch (this.#random(12)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const requests = Array.from({ length: 1 + this.#random(3) }, (): [bigint, bigint] => {
          const kind = this.#random(20) === 0 ? this.#random(8) : this.#pick(0, 2)
          return [(BigInt(this.#frame()) << 12n) | BigInt(8 * this.#slot() + kind), this.#entry()]
        })
        const [answer, done] = host.mmuUpdate(requests, this.#random(20) === 0 ? this.#random(0x8000) : undefined)
        this.#said('mmu_update', ...requests.flat(), `= ${answer}, ${done}`)
        return
      }
      case 4:
      case 5:
        return this.#ext('pin', Mmuext.PIN_L1_TABLE + this.#random(4), frame)
      case 6:
        return this.#ext('unpin', Mmuext.UNPIN_TABLE, frame)
      case 7:
        return this.#ext('root', this.#pick(Mmuext.NEW_BASEPTR, Mmuext.NEW_USER_BASEPTR), frame)
      case 8:
        return this.#ext('page', this.#pick(Mmuext.CLEAR_PAGE, Mmuext.COPY_PAGE), frame, this.#frame())
      case 9: {
        // A store of the kernel's, as far as its mappings let it: to what is writable, or emulated.
        const size = this.#pick(1, 2, 4, 8)
        const offset = 8 * this.#slot() + size * this.#random(8 / size)
        const [low, high] = halves(this.#entry())
        const address = frame * 4096 + offset
        if (frame >= FRAMES) return
        if (isEmulated(host.mm, frame)) {
          const done = emulateStore(host.mm, address, size, low, high)
          this.#said('emulated', address, size, low, high, done ? 'done' : 'refused')
        } else if (table.isOwn(frame) && (table.types[frame] & TYPE) === Type.WRITABLE && table.typeRefs[frame] > 0)
          host.frames.words.set([low, high], (frame << TABLE_SHIFT) + 2 * (offset >>> 3))
        return
      }
      case 10: {
        const list = host.buffer + 2048
        const count = 1 + this.#random(3)
        const command = this.#pick(Reservation.DECREASE, Reservation.POPULATE, Reservation.INCREASE)
        const order = this.#random(12) === 0 ? this.#random(12) : 0
        host.writeLongs(list, ...Array.from({ length: count }, () => this.#frame()))
        host.writeLongs(host.buffer, list, count)
        host.frames.words.set([order, 0, 0x7ff0], (host.buffer + (this.#narrow ? 8 : 16)) / 4)
        const answer = changeReservation(host.args(command, host.buffer), host.mm, command)
        this.#said(`reservation ${command}`, `= ${answer}`)
        return
      }
      default:
        return this.#descriptors(frame)
    }
  }

  readonly gdt: number[] = []

  #descriptors(frame: number): void {
    const answer = this.host.mm.holdDescriptors([frame], this.gdt)
    if (answer === 0) this.gdt.splice(0, this.gdt.length, frame)
    this.#said('gdt', frame, `= ${answer}`)
  }

  #ext(name: string, cmd: number, first: number, second = 0): void {
    this.#said(name, cmd, first, second, `= ${this.host.mmuext(cmd, first, second)}`)
  }

  #said(...words: readonly (string | number | bigint)[]): void {
    this.steps.push(words.map((word) => (typeof word === 'string' ? word : `0x${word.toString(16)}`)).join(' '))
  }

  holders(): Holder[] {
    const { kernelRoots, userRoots } = this.host.mm
    const held = [...kernelRoots, ...userRoots].filter((root) => root !== 0)
    return [...held, ...this.gdt].map((frame) => ({ frame, typed: true }))
  }
}

const halves = (value: bigint): [number, number] => [
  Number(BigInt.asIntN(32, value)),
  Number(BigInt.asIntN(32, value >> 32n)),
]

describe.each([
  ['64-bit', false],
  ['32-bit', true],
] as const)('direct paging of a %s guest under random requests', (_, narrow) => {
  it('keeps every count, whatever is asked', () => {
    const seen = new Set<string>()
    for (let seed = 1; seed <= SEEDS; seed++) {
      const session = new Session(seed, narrow)
      const { table } = session.host.frames
      for (let step = 0; step < STEPS; step++) {
        session.step()
        expect(
          audit(table, session.holders()),
          `seed ${seed}, step ${step}: ${session.steps.slice(-3).join('; ')}`,
        ).toEqual([])
      }
      for (const text of session.steps) seen.add(text.replace(/ 0x.*=|^emulated.* /, ' '))
      expect(table.pages + table.free, `seed ${seed}`).toBe(FRAMES - FIRST_OWN)
    }
    // Each kind of request was carried out, and refused.
    for (const text of [
      'pin  0',
      'pin  -22',
      'unpin  0',
      'root  0',
      'root  -22',
      'page  0',
      'page  -22',
      ' done',
      ' refused',
    ])
      expect([...seen]).toContain(text)
  })

  it('gives everything back in the end', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const session = new Session(seed, narrow)
      const { table } = session.host.frames
      for (let step = 0; step < STEPS; step++) session.step()
      for (let vcpu = 0; vcpu < VCPUS; vcpu++) {
        session.host.call.vcpu = vcpu
        expect(session.host.mmuext(Mmuext.NEW_USER_BASEPTR, 0)).toBe(narrow ? Errno.EINVAL : 0)
      }
      for (let frame = 0; frame < FRAMES; frame++)
        if (table.types[frame] & PINNED) session.host.mmuext(Mmuext.UNPIN_TABLE, frame)
      expect([...table.types].some((type) => type & PINNED)).toBe(false)
      session.host.mm.holdDescriptors([], session.gdt)
      session.gdt.length = 0
      const roots = session.holders()
      expect(audit(table, roots), `seed ${seed}`).toEqual([])
    }
  })
})
