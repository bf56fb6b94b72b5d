import { expect, test } from 'vitest'
import { CountedClock } from './clock.ts'
import { createPc } from './pc.ts'

const PORTS = [
  [0x20, 2],
  [0xa0, 2],
  [0x40, 4],
  [0x4d0, 2],
  [0x60, 5],
  [0x70, 2],
  [0x80, 1],
  [0x92, 1],
  [0xf0, 2],
  [0x2e8, 8],
  [0x3f8, 8],
  [0x600, 16],
  [0xcf8, 8],
  [0xfffd, 3],
]
const MSRS = [0x1b, 0x6e0, ...Array.from({ length: 256 }, (_, i) => 0x800 + i)]
const MMIO = [0xfec00000, 0xfec00010, 0xfec00040, 0xfee00000]

/** What a guest does at random must never throw, give a value that is none, or keep the clock from going on. */
test('a guest that writes nonsense everywhere does no harm', () => {
  let time = 0
  let seed = 12345
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return Math.floor((seed / 2 ** 32) * below)
  }
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]
  const value = () => pick([0, 1, 0xff, 0xffff, 0xffffffff, random(256), random(2 ** 32)])
  const clock = new CountedClock(() => time)
  const nothing = () => {}
  const pc = createPc({
    clock,
    physicalBits: 39,
    x2apic: true,
    epoch: 1.7e12,
    serial: [nothing, nothing, nothing, nothing],
    onReset: nothing,
    onPowerOff: nothing,
    cpus: [0, 1].map(() => ({
      setInterruptPending: nothing,
      nmi: nothing,
      init: nothing,
      sipi: nothing,
      tscOffset: () => 0,
    })),
  })
  const check = (read: number) => {
    if (!Number.isInteger(read) || read < 0 || read > 0xffffffff) throw new Error(`read ${read}`)
  }
  for (let i = 0; i < 300_000; i++) {
    const size = pick([1, 1, 2, 4])
    const vcpu = random(2)
    switch (random(8)) {
      case 0:
      case 1: {
        const [first, count] = pick(PORTS)
        pc.ports.write(first + random(count), size, value())
        break
      }
      case 2: {
        const [first, count] = pick(PORTS)
        check(pc.ports.read(first + random(count), size))
        break
      }
      case 3:
        pc.mmio.write(pick(MMIO) + pick([0, random(0x40) * 16]), pick([4, size]), value(), vcpu)
        break
      case 4:
        check(pc.mmio.read(pick(MMIO) + random(0x400), size, vcpu))
        break
      case 5:
        pc.interrupts.wrmsr(vcpu, pick(MSRS), value(), pick([0, value()]))
        pc.interrupts.rdmsr(vcpu, pick(MSRS))
        break
      case 6:
        pc.interrupts.acknowledge(vcpu)
        pc.uarts[random(4)].receive([random(256)])
        break
      default:
        time += pick([1, 1000, random(1e6), random(1e9)])
        clock.runDue()
    }
    if (Number.isNaN(clock.nextDeadline())) throw new Error('a deadline that is no number')
  }
  expect(pc.uarts.length).toBe(4)
})
