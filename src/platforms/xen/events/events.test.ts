/** event_channel_op: ports and what they are bound to, in both ABIs. */
import { describe, expect, test } from 'vitest'
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { type Guest, NOWHERE, setUp } from '../testing.ts'
import { Virq } from './virq.ts'

const SELF = DOMID.SELF
const UNKNOWN = 7
const PENDING = 0x800
const MASK = 0xa00

/** The next port. */
const port = ({ op }: Guest, name: string, values: Record<string, number>): number => {
  const { answer, out } = op(name, values)
  expect(answer).toBe(0)
  return Number(out['port'] ?? out['local_port'])
}
const alloc = (guest: Guest, remote: number = DOM0) =>
  port(guest, 'EVTCHNOP_alloc_unbound', { dom: SELF, remote_dom: remote })
const ipi = (guest: Guest, vcpu = 0) => port(guest, 'EVTCHNOP_bind_ipi', { vcpu })
const status = ({ op }: Guest, of: number) => op('EVTCHNOP_status', { dom: SELF, port: of }).out

describe('ports', () => {
  test('the lowest free one is taken; port 0 is none', () => {
    const guest = setUp()
    expect([alloc(guest), ipi(guest), alloc(guest)]).toEqual([1, 2, 3])
    expect(guest.op('EVTCHNOP_close', { port: 2 }).answer).toBe(0)
    expect(alloc(guest)).toBe(2)
    for (const none of [0, 4, 64, 0xffffffff]) expect(guest.op('EVTCHNOP_close', { port: none }).answer).toBe('EINVAL')
  })

  test('there are 1024', () => {
    const guest = setUp()
    for (let i = 1; i < 1024; i++) ipi(guest)
    expect(guest.op('EVTCHNOP_bind_ipi', { vcpu: 0 }).answer).toBe('ENOSPC')
  })

  test('what they are bound to', () => {
    const guest = setUp()
    const { domain } = guest
    const [unbound, loop, virq, end] = [alloc(guest), ipi(guest, 2), 0, alloc(guest)]
    void virq
    const timer = port(guest, 'EVTCHNOP_bind_virq', { virq: Virq.TIMER, vcpu: 3 })
    const signal = domain.events.connect(end, () => {})
    expect(status(guest, unbound)).toMatchObject({ status: 1n, vcpu: 0n, u0: BigInt(DOM0) })
    expect(status(guest, loop)).toMatchObject({ status: 5n, vcpu: 2n })
    expect(status(guest, timer)).toMatchObject({ status: 4n, vcpu: 3n, u0: BigInt(Virq.TIMER) })
    expect(status(guest, end)).toMatchObject({ status: 2n, u0: BigInt(DOM0), u1: BigInt(signal?.own as number) })
    expect(status(guest, 40)).toMatchObject({ status: 0n })
    signal?.close()
    expect(status(guest, end)).toMatchObject({ status: 1n, u0: BigInt(DOM0) })
  })

  test.each([
    ['EVTCHNOP_status', { dom: SELF, port: 1000 }, 'EINVAL'],
    ['EVTCHNOP_status', { dom: DOM0, port: 1 }, 'EPERM'],
    ['EVTCHNOP_status', { dom: UNKNOWN, port: 1 }, 'ESRCH'],
    ['EVTCHNOP_alloc_unbound', { dom: DOM0, remote_dom: SELF }, 'EPERM'],
    ['EVTCHNOP_alloc_unbound', { dom: UNKNOWN, remote_dom: SELF }, 'ESRCH'],
    ['EVTCHNOP_bind_interdomain', { remote_dom: DOM0, remote_port: 1 }, 'EINVAL'],
    ['EVTCHNOP_bind_interdomain', { remote_dom: UNKNOWN, remote_port: 1 }, 'ESRCH'],
    ['EVTCHNOP_bind_virq', { virq: 24, vcpu: 0 }, 'EINVAL'],
    ['EVTCHNOP_bind_virq', { virq: Virq.CONSOLE, vcpu: 1 }, 'EINVAL'],
    ['EVTCHNOP_bind_virq', { virq: Virq.TIMER, vcpu: 4 }, 'ENOENT'],
    ['EVTCHNOP_bind_pirq', { pirq: 1 }, 'EINVAL'],
    ['EVTCHNOP_bind_ipi', { vcpu: 4 }, 'ENOENT'],
    ['EVTCHNOP_send', { port: 5 }, 'EINVAL'],
    ['EVTCHNOP_unmask', { port: 64 }, 'EINVAL'],
    ['EVTCHNOP_unmask', { port: 5 }, 0],
    ['EVTCHNOP_bind_vcpu', { port: 1, vcpu: 9 }, 'ENOENT'],
    ['EVTCHNOP_bind_vcpu', { port: 1, vcpu: 0 }, 'EINVAL'],
    ['EVTCHNOP_set_priority', { port: 1, priority: 0 }, 'ENOSYS'],
    ['EVTCHNOP_expand_array', { array_gfn: 3 }, 'EOPNOTSUPP'],
    ['EVTCHNOP_init_control', { control_gfn: 3, offset: 4, vcpu: 0 }, 'EINVAL'],
    ['EVTCHNOP_init_control', { control_gfn: 3, offset: 4032, vcpu: 0 }, 'EINVAL'],
    ['EVTCHNOP_init_control', { control_gfn: 3, offset: 0, vcpu: 9 }, 'ENOENT'],
    ['EVTCHNOP_init_control', { control_gfn: 300, offset: 0, vcpu: 0 }, 'EINVAL'],
    ['EVTCHNOP_reset', { dom: DOM0 }, 'EPERM'],
    ['EVTCHNOP_reset', { dom: UNKNOWN }, 'ESRCH'],
    ['EVTCHNOP_reset_cont', { dom: SELF }, 'EBUSY'],
  ])('%s %o: %s', (name, values, answer) => {
    expect(setUp().op(name, values).answer).toBe(answer)
  })

  test('a virtual interrupt is bound once, and a vCPU’s own stays there', () => {
    const guest = setUp()
    const timer = port(guest, 'EVTCHNOP_bind_virq', { virq: Virq.TIMER, vcpu: 1 })
    expect(guest.op('EVTCHNOP_bind_virq', { virq: Virq.TIMER, vcpu: 1 }).answer).toBe('EEXIST')
    expect(guest.op('EVTCHNOP_bind_vcpu', { port: timer, vcpu: 0 }).answer).toBe('EINVAL')
    const global = port(guest, 'EVTCHNOP_bind_virq', { virq: Virq.CONSOLE, vcpu: 0 })
    expect(guest.op('EVTCHNOP_bind_vcpu', { port: global, vcpu: 2 }).answer).toBe(0)
    expect(guest.op('EVTCHNOP_close', { port: timer }).answer).toBe(0)
    expect(port(guest, 'EVTCHNOP_bind_virq', { virq: Virq.TIMER, vcpu: 1 })).toBe(timer)
  })

  test('a domain can connect to itself; who is left waits again', () => {
    const guest = setUp()
    const a = alloc(guest, SELF)
    const b = port(guest, 'EVTCHNOP_bind_interdomain', { remote_dom: SELF, remote_port: a })
    expect(status(guest, a)).toMatchObject({ status: 2n, u0: BigInt(DOMU), u1: BigInt(b) })
    expect(guest.domain.events.isPending(b)).toBe(true)
    expect(guest.op('EVTCHNOP_send', { port: b }).answer).toBe(0)
    expect(guest.domain.events.isPending(a)).toBe(true)
    expect(guest.op('EVTCHNOP_close', { port: a }).answer).toBe(0)
    expect(status(guest, b)).toMatchObject({ status: 1n, u0: BigInt(DOMU) })
  })

  test('no structure, no command', () => {
    const { op, raw } = setUp()
    expect(op('EVTCHNOP_send', {}, { at: NOWHERE }).answer).toBe('EFAULT')
    expect(raw(32, [77, 0])).toBe('ENOSYS')
  })

  test('a backend notifies and hears', () => {
    const guest = setUp()
    const end = alloc(guest)
    let heard = 0
    expect(guest.domain.events.connect(99, () => {})).toBe(undefined)
    const signal = guest.domain.events.connect(end, () => heard++)
    expect(guest.domain.events.connect(end, () => {})).toBe(undefined)
    guest.op('EVTCHNOP_send', { port: end })
    expect(heard).toBe(1)
    signal?.raise()
    expect(guest.domain.events.isPending(end)).toBe(true)
    guest.op('EVTCHNOP_close', { port: end })
    signal?.raise()
    expect([signal?.closed, guest.domain.events.isPending(end)]).toEqual([true, false])
  })

  test('a reset closes all, in slices', () => {
    const guest = setUp()
    for (let i = 0; i < 200; i++) ipi(guest)
    let answer = guest.op('EVTCHNOP_reset', { dom: SELF }).answer
    let slices = 1
    for (; answer === 'again'; slices++) answer = guest.again()
    expect([answer, slices]).toEqual([0, 4])
    expect(status(guest, 200)).toMatchObject({ status: 0n })
    expect(ipi(guest)).toBe(1)
  })
})

describe('the 2-level ABI', () => {
  test('pending bit, selector, one upcall', () => {
    const guest = setUp()
    const { domain, view, info } = guest
    const vcpu = 1
    for (let i = 1; i < 70; i++) ipi(guest, vcpu)
    const at = domain.sharedInfo.address
    guest.op('HVMOP_set_evtchn_upcall_vector', { vcpu, vector: 0xf3 })
    guest.done()
    guest.op('EVTCHNOP_send', { port: 69 })
    expect(view.getUint8(at + PENDING + 8)).toBe(1 << 5)
    expect(view.getUint32(info(vcpu) + 8, true)).toBe(2)
    expect(view.getUint8(info(vcpu))).toBe(1)
    guest.op('EVTCHNOP_send', { port: 68 })
    expect(guest.done()).toEqual(['post 1 0xf3'])
  })

  test('a masked port is pending, and told when it is unmasked', () => {
    const guest = setUp()
    const { domain, view, info } = guest
    ipi(guest)
    view.setUint8(domain.sharedInfo.address + MASK, 2)
    guest.op('EVTCHNOP_send', { port: 1 })
    expect([domain.events.isPending(1), view.getUint8(info(0))]).toEqual([true, 0])
    guest.op('EVTCHNOP_unmask', { port: 1 })
    expect([view.getUint8(info(0)), view.getUint8(domain.sharedInfo.address + MASK)]).toEqual([1, 0])
  })

  test('32-bit guests have words of 32 bits', () => {
    const guest = setUp()
    guest.vcpu(0).wide = false
    guest.op('HVMOP_set_param', { domid: SELF, index: 0, value: 0n })
    expect(guest.domain.wideInfo).toBe(false)
    for (let i = 1; i < 40; i++) ipi(guest)
    guest.op('EVTCHNOP_send', { port: 39 })
    expect(guest.view.getUint32(guest.info(0) + 4, true)).toBe(2)
  })
})

describe('the FIFO ABI', () => {
  const CONTROL = 20
  const ARRAY = 21
  const LINKED = 0xa0000000
  const start = () => {
    const guest = setUp()
    for (let i = 1; i < 6; i++) ipi(guest)
    for (const vcpu of [0, 1])
      expect(
        guest.op('EVTCHNOP_init_control', { control_gfn: CONTROL, offset: 72 * vcpu, vcpu }).out['link_bits'],
      ).toBe(17n)
    expect(guest.op('EVTCHNOP_expand_array', { array_gfn: ARRAY }).answer).toBe(0)
    const word = (of: number) => guest.view.getUint32(ARRAY * 4096 + 4 * of, true)
    const ready = () => guest.view.getUint32(CONTROL * 4096, true)
    const head = (priority: number) => guest.view.getUint32(CONTROL * 4096 + 8 + 4 * priority, true)
    return { ...guest, word, ready, head }
  }

  test('events queue up in their order', () => {
    const { op, word, ready, head } = start()
    for (const of of [3, 1, 4, 1]) op('EVTCHNOP_send', { port: of })
    expect([head(7), ready()]).toEqual([3, 1 << 7])
    expect([word(3), word(1), word(4)]).toEqual([LINKED + 1, LINKED + 4, LINKED])
  })

  test('priorities have queues of their own', () => {
    const { op, head, ready } = start()
    expect(op('EVTCHNOP_set_priority', { port: 2, priority: 16 }).answer).toBe('EINVAL')
    expect(op('EVTCHNOP_set_priority', { port: 50, priority: 16 }).answer).toBe('EACCES')
    expect(op('EVTCHNOP_set_priority', { port: 2, priority: 0 }).answer).toBe(0)
    op('EVTCHNOP_send', { port: 2 })
    op('EVTCHNOP_send', { port: 3 })
    expect([head(0), head(7), ready()]).toEqual([2, 3, 0x81])
  })

  test('a masked event is not linked until it is unmasked', () => {
    const { op, view, word, head } = start()
    view.setUint32(ARRAY * 4096 + 8, 0x40000000, true)
    op('EVTCHNOP_send', { port: 2 })
    expect([word(2), head(7)]).toEqual([0xc0000000, 0])
    op('EVTCHNOP_unmask', { port: 2 })
    expect([word(2), head(7)]).toEqual([LINKED, 2])
  })

  test('an unlinked tail is an empty queue, and links that make no sense are never followed', () => {
    const { op, view, word, head } = start()
    op('EVTCHNOP_send', { port: 2 })
    view.setUint32(ARRAY * 4096 + 8, 0x1ffff, true)
    op('EVTCHNOP_send', { port: 3 })
    expect([head(7), word(2)]).toEqual([3, 0x1ffff])
    view.setUint32(ARRAY * 4096 + 12, 0xffffffff, true)
    op('EVTCHNOP_send', { port: 4 })
    expect(word(4)).toBe(LINKED)
  })

  test('what is in a queue is not given out again, and what waited is told when its page comes', () => {
    const guest = setUp()
    ipi(guest)
    guest.op('EVTCHNOP_send', { port: 1 })
    guest.op('EVTCHNOP_init_control', { control_gfn: CONTROL, offset: 0, vcpu: 0 })
    guest.op('EVTCHNOP_expand_array', { array_gfn: ARRAY })
    expect(guest.view.getUint32(ARRAY * 4096 + 4, true)).toBe(LINKED)
    guest.op('EVTCHNOP_close', { port: 1 })
    expect(ipi(guest)).toBe(2)
    expect(guest.op('EVTCHNOP_init_control', { control_gfn: CONTROL, offset: 72, vcpu: 0 }).answer).toBe('EINVAL')
    guest.op('EVTCHNOP_reset', { dom: SELF })
    expect(guest.domain.events.fifo).toBe(undefined)
  })

  test('the array has room for all ports', () => {
    const { op } = start()
    for (let i = 1; i < 128; i++) expect(op('EVTCHNOP_expand_array', { array_gfn: ARRAY }).answer).toBe(0)
    expect(op('EVTCHNOP_expand_array', { array_gfn: ARRAY }).answer).toBe('ENOSPC')
  })
})

describe('polling', () => {
  const poll = ({ op, view }: Guest, ports: readonly number[], timeout = 0, count = ports.length) => {
    for (const [i, of] of ports.entries()) view.setUint32(0x9000 + 4 * i, of, true)
    return op('SCHEDOP_poll', { ports: 0x9000, nr_ports: count, timeout }).answer
  }

  test('waits for a port, masked or not', () => {
    const guest = setUp()
    ipi(guest)
    ipi(guest)
    guest.done()
    expect(poll(guest, [2])).toBe(0)
    expect(guest.done()).toEqual(['block 0'])
    guest.op('EVTCHNOP_send', { port: 1 }, { vcpu: 1 })
    expect(guest.done()).toEqual([])
    guest.op('EVTCHNOP_send', { port: 2 }, { vcpu: 1 })
    expect(guest.done()).toEqual(['wake 0'])
    expect(poll(guest, [2])).toBe(0)
    expect(guest.done()).toEqual([])
  })

  test('for a time', () => {
    const guest = setUp()
    ipi(guest)
    poll(guest, [1], 1000)
    guest.done()
    guest.mock.advance(999)
    expect(guest.done()).toEqual([])
    guest.mock.advance(1)
    expect(guest.done()).toEqual(['wake 0'])
  })

  test('not when an event could be taken, nor for what there is not', () => {
    const guest = setUp()
    ipi(guest)
    guest.vcpu(0).waits = true
    guest.done()
    expect([poll(guest, [1]), guest.done()]).toEqual([0, []])
    guest.vcpu(0).waits = false
    expect(poll(guest, [1], 0, 129)).toBe('EINVAL')
    expect(poll(guest, [500])).toBe('EINVAL')
    expect(guest.op('SCHEDOP_poll', { ports: NOWHERE, nr_ports: 1 }).answer).toBe('EFAULT')
  })
})
