/**
 * Xen's interface of a PV guest for `runner.ts`: the hypercalls that only PV has. Registers, callbacks and I/O privilege
 * are compared with what a model says; of page tables, descriptor tables, reservations and grants every reference is
 * counted over again, and what is not the domain's must stay as it was.
 */
import { deepStrictEqual, strictEqual } from 'node:assert'
import * as fc from 'fast-check'
import type { Declaration } from '../../src/paravirt/requests.ts'
import { hypercalls } from '../../src/platforms/xen/hypercalls/index.ts'
import { PRESENT, RW } from '../../src/platforms/xen/mm/entries.ts'
import type { Scenario } from './runner.ts'
import { checkGrants, grantCalls } from './xen-pv-grants.ts'
import { AREA, DOMID, DOMU, HOLE, LIST, NOWHERE, OWN, PAGE, Session, VCPUS } from './xen-pv-session.ts'

const SLOTS = { wide: [0, 1, 2, 3, 255, 256, 511], narrow: [0, 1, 2, 3, 4, 427, 428, 511] } as const

/** A call, with numbers by which it picks what it asks. */
interface Step {
  readonly name: keyof typeof calls
  readonly vcpu: number
  readonly picks: readonly number[]
}

const canonical = (address: bigint): boolean => address < HOLE || address >= (1n << 64n) - HOLE
/** The error of a structure that cannot be read, or what it says. */
const read = (at: bigint, answer: number | string): number | string => (at === BigInt(AREA) ? answer : 'EFAULT')

/** One command of a call, whose structure is `longs`; the model's answer. */
function command(s: Session, vcpu: number, number: number, cmd: number, longs: (number | bigint)[], expected: unknown) {
  const at = s.place()
  s.longs(AREA, ...longs)
  const answer = s.call(vcpu, number, cmd, at)
  strictEqual(answer, read(at, expected as number | string))
  return answer
}

const WIDE = { 0: 'event', 1: 'failsafe', 2: 'syscall', 5: 'sysenter', 7: 'syscall32' } as const
/** What callback_op calls an entry point of a guest of this width. */
const entry = (s: Session, type: number): (typeof WIDE)[keyof typeof WIDE] | undefined =>
  type in WIDE && !(s.narrow && type === 2) ? WIDE[type as keyof typeof WIDE] : undefined
const REFUSED = [8, 9, 15, 16, 20, 25, 26, 27, 30, 31] as const

const calls = {
  set_trap_table(s: Session, vcpu: number) {
    const address = s.address()
    const vector = s.below(256)
    const at = s.rarely(8) ? 0n : s.place()
    s.longs(AREA, vector | (4 << 8) | (0xe030 << 16), address, 0, 0)
    const answer = s.call(vcpu, 0, at)
    strictEqual(answer, at === 0n ? 0 : read(at, canonical(address) ? 0 : 'EINVAL'))
    const { pv } = s.mock.effects
    if (answer === 0)
      deepStrictEqual(
        pv.trap(vcpu, vector),
        at === 0n ? { flags: 0, cs: 0, address: 0n } : { flags: 4, cs: s.narrow ? 0xe031 : 0xe033, address },
      )
  },
  set_callbacks(s: Session, vcpu: number) {
    if (!s.narrow) return strictEqual(s.call(vcpu, 4, s.address(), s.address(), s.address()), 0)
    const [event, failsafe] = [s.address(), s.address()]
    strictEqual(s.call(vcpu, 4, 0x60, event, 0x61, failsafe), 0)
    const { pv } = s.mock.effects
    deepStrictEqual([pv.wide(vcpu, 'event'), pv.wide(vcpu, 'failsafe')], [event, failsafe])
    deepStrictEqual([pv.word(vcpu, 'eventCs'), pv.word(vcpu, 'failsafeCs')], [0x61, 0x61])
  },
  callbacks(s: Session, vcpu: number) {
    const type = s.pick(0, 1, 2, 5, 7, 4, 3, 9)
    const address = s.address()
    const words = s.narrow ? [type, 0x60, address] : [type, address]
    const answer = command(
      s,
      vcpu,
      30,
      0,
      words,
      !canonical(address) ? 'EINVAL' : entry(s, type) || type === 4 ? 0 : 'ENOSYS',
    )
    const { pv } = s.mock.effects
    const field = entry(s, type)
    if (answer !== 0 || !field) return
    strictEqual(pv.wide(vcpu, field), address)
    if (s.narrow) strictEqual(pv.word(vcpu, `${field as 'event'}Cs`), 0x61)
  },
  unregister(s: Session, vcpu: number) {
    const type = s.pick(4, 4, 4, 0, 2, 3)
    command(s, vcpu, 30, 1, [type], type === 4 ? 0 : entry(s, type) ? 'EINVAL' : 'ENOSYS')
    strictEqual(s.call(vcpu, 30, 2, AREA), s.narrow ? 'EINVAL' : 'ENOSYS')
  },
  nmi(s: Session, vcpu: number) {
    const address = s.address()
    if (s.rarely(3)) strictEqual(s.call(vcpu, 28, 1), 0)
    else command(s, vcpu, 28, 0, [address, 0], canonical(address) ? 0 : 'EINVAL')
  },
  set_gdt(s: Session, vcpu: number) {
    const entries = s.pick(0, 1, 16, 512, 513, 7169)
    const frames = [s.frame(), s.frame()].slice(0, Math.ceil(Math.min(entries, 1024) / 512))
    const at = s.place()
    s.longs(AREA, ...frames)
    const answer = s.call(vcpu, 2, at, entries)
    if (answer === 0) s.gdts[vcpu] = frames
    else if (entries > 7168) strictEqual(answer, 'EINVAL')
    else if (at !== BigInt(AREA)) strictEqual(answer, 'EFAULT')
  },
  update_descriptor(s: Session, vcpu: number) {
    const descriptor = s.pick(0n, 0x00cffb000000ffffn, 0x00af9b000000ffffn, 0x0000890000000067n)
    const at = BigInt(s.frame()) * 4096n + BigInt(8 * s.below(512)) + (s.rarely(20) ? 4n : 0n)
    const answer = s.call(vcpu, 10, ...s.split(at), ...s.split(descriptor))
    const long = s.narrow && descriptor === 0x00af9b000000ffffn
    if (at % 8n !== 0n || descriptor === 0x0000890000000067n || long) strictEqual(answer, 'EINVAL')
  },
  stack_switch(s: Session, vcpu: number) {
    strictEqual(s.call(vcpu, 3, 0xe02b, 0x8000), 0)
  },
  fpu_taskswitch(s: Session, vcpu: number) {
    strictEqual(s.call(vcpu, 5, s.below(2)), 0)
  },
  debugreg(s: Session, vcpu: number) {
    const index = s.pick(0, 1, 2, 3, 0, 1, 2, 3, 6, 7, 8)
    // 32-bit guests' values reach neither Xen's addresses of 64 bits nor reserved bits.
    const high = s.narrow ? 0n : 1n << 32n
    const value = index === 6 || index === 7 ? s.pick(0n, high) : s.pick(0x1000n, s.text, s.text, s.xen)
    const inXen = !s.narrow && value === s.xen
    const refused = index === 8 ? 'ENODEV' : inXen ? 'EPERM' : value >> 32n === 1n ? 'EINVAL' : undefined
    const answer = s.call(vcpu, 8, index, value)
    strictEqual(answer, refused ?? 0)
    const model = s.debug[vcpu] as Map<number, bigint>
    if (answer === 0 && index < 4) model.set(index, value)
    const known = s.below(4)
    const got = s.call(vcpu, 9, index === 8 ? 8 : known)
    if (index === 8) strictEqual(got, 'ENODEV')
    else if (model.has(known)) strictEqual(s.mock.effects.cpu.register(vcpu, 'rax'), model.get(known))
  },
  set_segment_base(s: Session, vcpu: number) {
    const which = s.below(5)
    // Whether it is an address is the processor's to say.
    const answer = s.call(vcpu, 25, which, which === 3 ? 0 : s.text)
    strictEqual(answer, s.narrow ? 'ENOSYS' : which > 3 ? 'EINVAL' : 0)
  },
  io(s: Session, vcpu: number) {
    const { pv } = s.mock.effects
    const iopl = s.below(5)
    if (command(s, vcpu, 33, 6, [iopl], iopl > 3 ? 'EINVAL' : 0) === 0) strictEqual(pv.word(vcpu, 'iopl'), iopl << 12)
    const [bitmap, ports] = [s.pick(0x3000n, s.xen), s.pick(8, 0x10000, 0x10001)]
    command(s, vcpu, 33, 7, [bitmap, ports], bitmap === s.xen || ports > 0x10000 ? 'EINVAL' : 0)
  },
  devices(s: Session, vcpu: number) {
    command(s, vcpu, 33, REFUSED[s.below(REFUSED.length)] as number, [0], 'EPERM')
  },
  /** What older guests call, with the command in the structure. */
  older(s: Session, vcpu: number) {
    const at = s.place()
    // A port of its own, which it closes again.
    s.put(AREA, 6n | (BigInt(DOMID.SELF) << 32n), 0)
    const opened = s.call(vcpu, 16, at)
    strictEqual(opened, read(at, 0))
    if (opened === 0) {
      const port = s.mock.effects.memory.view.getUint32(AREA + 8, true)
      s.put(AREA, 3n | (BigInt(port) << 32n))
      strictEqual(s.call(vcpu, 16, AREA), 0)
      strictEqual(s.call(vcpu, 16, AREA), 'EINVAL')
      s.put(AREA, s.pick(10, 11, 12, 13, 14, 99))
      strictEqual(s.call(vcpu, 16, AREA), 'ENOSYS')
    }
    const [cmd, iopl] = [s.pick(6, 6, 99, REFUSED[s.below(REFUSED.length)] as number), s.below(5)]
    const where = s.place()
    s.longs(AREA, cmd, iopl)
    const answer = s.call(vcpu, 19, where)
    strictEqual(answer, read(where, cmd === 99 ? 'ENOSYS' : cmd !== 6 ? 'EPERM' : iopl > 3 ? 'EINVAL' : 0))
    if (answer === 0) strictEqual(s.mock.effects.pv.word(vcpu, 'iopl'), iopl << 12)
  },
  refused(s: Session, vcpu: number) {
    strictEqual(s.call(vcpu, s.pick(37, 48), 0, BigInt(AREA)), 'EPERM')
    const at = s.place()
    // A 32-bit guest's structure is read before it is told so.
    const unread = s.narrow && at !== BigInt(AREA)
    strictEqual(s.call(vcpu, 12, 10, at), unread ? 'EFAULT' : 'EPERM')
  },
  /** Commands of memory_op that are never long, with bits above them. */
  bits(s: Session, vcpu: number) {
    const cmd = s.pick(5, 10, 12, 25)
    strictEqual(s.call(vcpu, 12, cmd | ((1 + s.below(3)) << 6), s.place()), 'ENOSYS')
  },
  resource(s: Session, vcpu: number) {
    const domid = s.pick(DOMID.SELF, DOMU, DOMID.DOM0, DOMID.NOBODY)
    const [count, pad, high] = [s.below(3), s.rarely(8) ? 1 : 0, s.rarely(8) ? 1 : 0]
    s.put32(AREA, domid, 0, count, pad, 0, high, LIST)
    const known = domid === DOMU || domid === DOMID.DOM0
    const at = s.place()
    const start = s.rarely(8) ? 2 : 0
    // Of 64-bit guests that is looked at later.
    const over = s.narrow && count !== 0 && start >= count
    const expected = pad || high || over ? 'EINVAL' : known ? 'EPERM' : 'ESRCH'
    strictEqual(s.call(vcpu, 12, 28 | (start << 6), at), read(at, expected))
  },
  eoi_page(s: Session, vcpu: number) {
    const frame = s.frame()
    const at = s.place()
    s.longs(AREA, frame)
    const answer = s.call(vcpu, 33, s.pick(17, 28), at)
    if (answer === 0) s.eoi = frame
    else if (at !== BigInt(AREA)) strictEqual(answer, 'EFAULT')
  },
  mmu_update(s: Session, vcpu: number) {
    const count = 1 + s.below(2)
    for (let i = 0; i < count; i++) {
      const kind = s.rarely(20) ? s.pick(1, 4, 5) : s.pick(0, 0, 2, 3)
      s.put(AREA + 16 * i, (BigInt(s.frame()) << 12n) | BigInt(8 * s.pick(...SLOTS[s.width]) + kind), s.entry())
    }
    const domid = s.rarely(30) ? s.pick(DOMID.NOBODY, DOMID.DOM0, DOMID.IO) : DOMID.SELF
    const at = s.place()
    const answer = s.call(vcpu, 1, at, count, LIST, domid)
    if (at === s.xen) strictEqual(answer, 'EFAULT')
    else if (domid === DOMID.NOBODY) strictEqual(answer, 'ESRCH')
  },
  mmuext_op(s: Session, vcpu: number) {
    const cmd = s.pick(0, 1, 2, 3, 4, 4, 5, 6, 7, 10, 11, 6, 10, 12, 13, 15, 16, 17, 19, 20, 99)
    const first = cmd === 13 ? 0x4000n : cmd === 15 && s.rarely(2) ? 0n : BigInt(s.frame())
    s.longs(AREA, cmd, first, cmd === 13 ? s.pick(0, 16, 8193) : s.frame())
    const domid = s.rarely(30) ? s.pick(DOMID.NOBODY, DOMID.DOM0) : DOMID.SELF
    const at = s.place()
    const answer = s.call(vcpu, 26, at, 1, 0, domid)
    if (at === s.xen) strictEqual(answer, 'EFAULT')
    else if (domid === DOMID.NOBODY) strictEqual(answer, 'ESRCH')
    else if (at === NOWHERE && domid === DOMID.SELF) strictEqual(answer, 'EFAULT')
  },
  update_va_mapping(s: Session, vcpu: number) {
    const nowhere = s.narrow ? [1n << 30n, 0xf57f_f000n, s.xen] : [1n << 40n, HOLE, s.xen]
    const va = s.rarely(20) ? s.pick(...nowhere) : BigInt(s.below(512)) << 12n
    const flags = s.rarely(12) ? (NOWHERE & ~3n) | 1n : s.pick(0n, 1n, 2n, 5n, 6n)
    if (s.rarely(4)) {
      const domid = s.pick(DOMID.SELF, DOMID.SELF, DOMID.DOM0, DOMID.NOBODY)
      const answer = s.call(vcpu, 22, va, ...s.split(s.entry()), flags, domid)
      if (domid !== DOMID.SELF) strictEqual(answer, domid === DOMID.DOM0 ? 'EPERM' : 'ESRCH')
    } else s.call(vcpu, 14, va, ...s.split(s.entry()), flags)
  },
  /** A table that would map one of the domain's tables writable. */
  busy(s: Session, vcpu: number) {
    const { frames } = s.kind.mm
    const frame = s.own[5 + s.below(OWN - 5)] as number
    if (!frames.isOwn(frame) || frames.typeRefs[frame] !== 0) return
    s.put(frame * PAGE, (BigInt(s.kind.mm.kernelRoots[vcpu] as number) << 12n) | BigInt(PRESENT | RW))
    s.longs(AREA, 0, frame, 0)
    strictEqual(s.call(vcpu, 26, AREA, 1, 0, DOMID.SELF), 'EBUSY')
  },
  yield(s: Session, vcpu: number) {
    strictEqual(s.call(vcpu, 6, 0), 0)
    strictEqual(s.call(vcpu, 6, 9), 'ENOSYS')
  },
  reservation(s: Session, vcpu: number) {
    const cmd = s.pick(0, 1, 6)
    const count = 1 + s.below(2)
    const { frames } = s.kind.mm
    const before = frames.pages
    s.longs(LIST, cmd === 6 ? 0x1000 : s.frame(), cmd === 6 ? 0x1001 : s.frame())
    s.reservation(AREA, LIST, count, s.rarely(10) ? 10 : 0, 0, s.rarely(20) ? DOMID.NOBODY : DOMID.SELF)
    const answer = s.call(vcpu, 12, cmd, BigInt(AREA))
    if (cmd !== 1) strictEqual(frames.pages, before + Number(answer))
    // New ones take the places of those that were the test's.
    const { view } = s.mock.effects.memory
    if (cmd !== 1 && Number(answer) > 0) s.own[s.below(OWN)] = view.getUint32(LIST, true)
  },
  exchange(s: Session, vcpu: number) {
    const [inOrder, outOrder] = [s.pick(0, 0, 0, 0, 9, 10), s.pick(0, 0, 0, 0, 9, 12)]
    const domid = s.rarely(12) ? s.pick(DOMID.DOM0, DOMID.NOBODY) : DOMID.SELF
    const index = s.below(OWN)
    const count = inOrder === 0 && outOrder === 9 ? 512 : 1
    const bytes = s.narrow ? 4 : 8
    s.longs(LIST, s.own[index] as number, 0x1000)
    // Below 1 MiB is no memory.
    const bits = s.rarely(8) ? 20 : 0
    const outAt = s.reservation(AREA, s.rarely(10) ? NOWHERE : LIST, count, inOrder, 0, domid)
    const end = s.reservation(outAt, LIST + bytes, 1, outOrder, bits, domid)
    s.longs(end, 0)
    const at = s.place()
    const answer = s.call(vcpu, 12, 11, at)
    if (at !== BigInt(AREA)) strictEqual(answer, 'EFAULT')
    if (answer === 0) s.own[index] = s.mock.effects.memory.view.getUint32(LIST + bytes, true)
  },
  machphys(s: Session, vcpu: number) {
    const at = s.place()
    s.longs(AREA, 8, s.rarely(4) ? NOWHERE : LIST)
    const listed = s.call(vcpu, 12, 5, at)
    if (at !== BigInt(AREA)) strictEqual(listed, 'EFAULT')
    command(s, vcpu, 12, 12, [0, 0, 0], 0)
  },
  ...grantCalls,
} satisfies Readonly<Record<string, (s: Session, vcpu: number) => void>>

const names = Object.keys(calls) as (keyof typeof calls)[]
/** Errors that only guests of one width can get. */
const ofWidth = (name: string, error: string, narrow: boolean): boolean => {
  if (name === 'XENMEM_machine_memory_map' && error === 'EFAULT') return narrow
  if (name === 'set_segment_base') return narrow ? error === 'ENOSYS' : error !== 'ENOSYS'
  if (!narrow) return true
  const noAddress = ['set_trap_table', 'CALLBACKOP_register', 'XENNMI_register_callback']
  return !(error === 'EINVAL' && noAddress.includes(name)) && !(name === 'set_debugreg' && error !== 'ENODEV')
}

/** What cannot be told: the answer to a reservation is a count; iret needs a processor. */
const requests = (narrow: boolean): Declaration[] =>
  hypercalls
    .flatMap((call): readonly (Declaration & { guest?: string | undefined })[] => call.commands ?? [call])
    .filter(({ guest, name }) => guest === 'pv' && name !== 'iret')
    .map((request) => ({
      ...request,
      errors: Object.fromEntries(
        Object.entries(request.errors)
          .filter(([error, when]) => !when.startsWith('never') && ofWidth(request.name, error, narrow))
          .map(([error, when]) => [error, narrow && request.name === 'set_segment_base' ? 'always' : when]),
      ),
    }))

const scenarioOf = (narrow: boolean): Scenario<null, Step> => ({
  requests: requests(narrow),
  setting: fc.constant(null),
  step: fc.record({
    name: fc.constantFrom(...names),
    vcpu: fc.nat(VCPUS - 1),
    picks: fc.array(fc.nat(0xfffff), { minLength: 12, maxLength: 12 }),
  }),
  start: (_, listen) => {
    const session = new Session(narrow, listen)
    return {
      play: ({ name, vcpu, picks }) =>
        session.step(picks, (s) => {
          calls[name](s, vcpu)
          checkGrants(s)
        }),
      finish: () => session.finish(),
    }
  },
  describe: ({ name, vcpu, picks }) => `${name} on ${vcpu}: ${picks.join(' ')}`,
})
export const scenario = scenarioOf(false)
export const narrowScenario = scenarioOf(true)
