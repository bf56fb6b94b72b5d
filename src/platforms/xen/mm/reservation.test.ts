import { describe, expect, it } from 'vitest'
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno } from '../errno.ts'
import { Block } from '../struct.ts'
import { pvMemoryCommands } from './hypercalls.ts'
import { ALLOCATED } from './frame-table.ts'
import { Mmuext } from './mmuext-op.ts'
import { audit, FIRST_OWN, TestCalls } from './testing.ts'

const [A, B] = [FIRST_OWN, FIRST_OWN + 1]
const command = (name: string) => pvMemoryCommands.find((each) => each.name === `XENMEM_${name}`)!

class Host extends TestCalls {
  readonly list = this.buffer + 1024

  /** Extents of an order; flags and domain. */
  reserve(name: string, extents: readonly number[] | null, order = 0, rest: { flags?: number; domid?: number } = {}) {
    const { command: number, run } = command(name)
    const count = extents?.length ?? 3
    if (extents) this.write(this.list, ...extents.map(BigInt))
    const flags = BigInt(rest.flags ?? 0) << 32n
    const domid = BigInt(rest.domid ?? DOMID.SELF)
    this.write(this.buffer, extents ? BigInt(this.list) : 0n, BigInt(count), BigInt(order) | flags, domid)
    return run(this.args(number, this.buffer), this.call.block)
  }

  exchange(
    input: readonly number[],
    inOrder: number,
    output: readonly number[],
    outOrder: number,
    domid = DOMID.SELF as number,
  ) {
    const out = this.list + 512
    this.write(this.list, ...input.map(BigInt))
    this.write(out, ...output.map(BigInt))
    this.write(this.buffer, BigInt(this.list), BigInt(input.length), BigInt(inOrder), BigInt(domid))
    this.write(this.buffer + 32, BigInt(out), BigInt(output.length), BigInt(outOrder), BigInt(domid), 0n)
    return command('exchange').run(this.args(11, this.buffer), this.call.block)
  }
}

describe('reservations', () => {
  it('give frames back and take them, with their place in the machine-to-physical table', () => {
    const t = new Host({ frames: 32 })
    const { table } = t.frames
    table.setPfn(A, 5, 0)
    expect(t.reserve('decrease_reservation', [A, B])).toBe(2)
    expect([table.pages, table.free]).toEqual([22, 2])
    expect(table.pfnOf(A)).toBe(-1)
    expect(t.reserve('populate_physmap', [0x111, 0x222, 0x333])).toBe(2)
    const frames = [t.read(t.list), t.read(t.list + 8)].map(Number)
    expect(frames.map((frame) => table.pfnOf(frame))).toEqual([0x111, 0x222])
    expect(frames.toSorted()).toEqual([A, B])
    expect(audit(table)).toEqual([])
  })

  it('leave frames where they are used until they are not', () => {
    const t = new Host({ frames: 32 })
    const { table } = t.frames
    expect(t.mmuext(Mmuext.PIN_L1_TABLE, A)).toBe(0)
    expect(t.reserve('decrease_reservation', [A])).toBe(1)
    expect(table.pages).toBe(24)
    expect(table.types[A] & ALLOCATED).toBe(0)
    // There is nothing left to give back.
    expect(t.reserve('decrease_reservation', [A])).toBe(1)
    expect(t.mmuext(Mmuext.UNPIN_TABLE, A)).toBe(0)
    expect(table.pages).toBe(23)
  })

  it('answer how far they came', () => {
    const t = new Host({ frames: 32, own: 20 })
    expect(t.reserve('decrease_reservation', [A, 4, B])).toBe(1)
    expect(t.reserve('populate_physmap', [1], 0, { domid: DOM0 })).toBe(0)
    expect(t.reserve('populate_physmap', [1], 0, { domid: 99 })).toBe(0)
    expect(t.reserve('populate_physmap', [1], 10)).toBe(0)
    expect(t.reserve('populate_physmap', [1], 0, { flags: 1 << 16 })).toBe(0)
    expect(t.reserve('populate_physmap', [1], 0, { flags: (1 << 8) | (1 << 17) })).toBe(0)
    expect(t.reserve('populate_physmap', [1], 0, { flags: 12 })).toBe(0)
    expect(t.reserve('populate_physmap', [1], 0, { domid: DOMU })).toBe(1)
    const run = (address: number | bigint) => command('populate_physmap').run(t.args(6 + 64 * 7, address), t.call.block)
    expect(run(0xffff800000000000n)).toBe(7)
    t.frames.table.maximum = t.frames.table.pages + 1
    expect(t.reserve('increase_reservation', [0, 0])).toBe(1)
    expect(t.frames.table.pfnOf(Number(t.read(t.list)))).toBe(-1)
    t.frames.table.maximum += 2
    expect(t.reserve('increase_reservation', null)).toBe(2)
  })

  it('take extents in a row, aligned, and below a limit', () => {
    const t = new Host({ frames: 64, own: 4 })
    expect(t.reserve('populate_physmap', [0x100], 3)).toBe(1)
    expect(t.read(t.list)).toBe(56n)
    expect([0, 7].map((k) => t.frames.table.pfnOf(56 + k))).toEqual([0x100, 0x107])
    expect(t.reserve('populate_physmap', [0x200], 0, { flags: 17 })).toBe(1)
    expect(t.read(t.list)).toBe(31n)
  })

  it('are sliced when they are long', () => {
    const t = new Host({ frames: 64, own: 50 })
    const extents = Array.from({ length: 100 }, () => A)
    expect(t.reserve('decrease_reservation', extents.slice(0, 1), 0)).toBe(1)
    t.frames.table.maximum = 0
    expect(t.reserve('populate_physmap', extents)).toBe(0)
  })
})

describe('exchange', () => {
  it('gives frames in a row for others', () => {
    const t = new Host({ frames: 64, own: 30 })
    const { table } = t.frames
    const pages = table.pages
    expect(t.exchange([A, B, A + 4, A + 6], 0, [0x40], 2)).toBe(0)
    const frame = Number(t.read(t.list + 512))
    expect(frame % 4).toBe(0)
    expect([0, 1, 2, 3].map((k) => table.pfnOf(frame + k))).toEqual([0x40, 0x41, 0x42, 0x43])
    expect(table.isOwn(A)).toBe(false)
    expect(table.pages).toBe(pages)
    expect(t.read(t.buffer + 64)).toBe(4n)
    expect(audit(table)).toEqual([])
    expect(t.exchange([frame], 2, [1, 2, 3, 4], 0)).toBe(0)
    expect(audit(table)).toEqual([])
  })

  it('changes nothing when it cannot', () => {
    const t = new Host({ frames: 64, own: 30 })
    const { table } = t.frames
    expect(t.exchange([A, 4], 0, [1], 1)).toBe(Errno.EINVAL)
    expect(table.isOwn(A)).toBe(true)
    expect(t.mmuext(Mmuext.PIN_L1_TABLE, B)).toBe(0)
    expect(t.exchange([A, B], 0, [1], 1)).toBe(Errno.EINVAL)
    expect(t.exchange([A, B + 1], 0, [1, 2], 1)).toBe(Errno.EINVAL)
    expect(t.exchange([A], 10, [1], 10)).toBe(Errno.EPERM)
    expect(t.exchange([A], 0, [1], 0, 99)).toBe(Errno.ESRCH)
    expect(t.exchange([A], 0, [1], 0, DOM0)).toBe(Errno.EPERM)
    const many = Array.from({ length: 16 }, (_, i) => A + 2 + i)
    expect(t.exchange(many, 0, [1], 4)).toBe(0)
    expect(
      t.exchange(
        Array.from({ length: 8 }, (_, i) => A + 20 + i),
        0,
        [1],
        3,
      ),
    ).toBe(0)
    expect(audit(table)).toEqual([])
  })
})

describe('the machine-to-physical table', () => {
  it('says where it is', () => {
    const t = new Host()
    const { struct, run } = command('machphys_mapping')
    const block = new Block(64)
    expect(run(t.args(12, 0), block)).toBe(0)
    expect(struct!.list.map((field) => block.big(field))).toEqual([
      0xffff800000000000n,
      0xffff804000000000n,
      2n ** 35n - 1n,
    ])
  })

  it('and its frames', () => {
    const t = new Host()
    const { struct, run } = command('machphys_mfn_list')
    const [max, list, count] = struct!.list
    const block = new Block(64)
    block.set(max, 9)
    block.set(list, t.list)
    expect(run(t.args(5, 0), block)).toBe(0)
    expect(block.get(count)).toBe(1)
    expect(t.read(t.list)).toBe(BigInt(t.frames.table.m2p))
    block.setBig(list, 0xffff800000000000n)
    expect(run(t.args(5, 0), block)).toBe(Errno.EFAULT)
  })
})
