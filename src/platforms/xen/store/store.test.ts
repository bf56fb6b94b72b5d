import * as fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { Observer } from '../../../paravirt/observe.ts'
import { traceLine } from '../../../paravirt/trace.ts'
import { save } from '../../../snapshot/stateful.ts'
import { StoreClient } from './client.ts'
import { writeDomain } from './domain.ts'
import { StoreRing } from './ring.ts'
import { StoreServer } from './server.ts'
import { message, TestGuest, TestPage, testSignals } from './testing.ts'
import { encodeMessage, MessageType as T } from './wire.ts'

const HOME = '/local/domain/1'
let now: number
let server: StoreServer
let host: StoreClient
let ring: StoreRing
let guest: TestGuest
let raised: number
let deadlines: { at: number; callback: () => void }[]

function advance(nanoseconds: number): void {
  now += nanoseconds
  for (const deadline of deadlines)
    if (deadline.at <= now) {
      deadline.at = Infinity
      deadline.callback()
    }
}

/** Errors with which requests are answered, whatever they ask; lines of the trace. */
let refusals: Map<string, string>
let lines: string[]

beforeEach(() => {
  now = 0
  raised = 0
  deadlines = []
  refusals = new Map()
  lines = []
  const observer = new Observer(
    () => 0,
    ({ name }) => refusals.get(name),
  )
  observer.listen((event) => {
    const { request, result } = event
    lines.push(traceLine(event).slice(20))
    if (typeof result === 'string' && !Object.hasOwn(request.errors, result))
      throw new Error(`${request.name} does not declare ${result}`)
  })
  server = new StoreServer(() => now, observer.rings)
  host = new StoreClient(server)
  const page = new TestPage()
  page.bytes.fill(0xee, 0, 2048)
  guest = new TestGuest(page)
  ring = new StoreRing({
    server,
    domain: 1,
    page,
    port: 1,
    signals: testSignals(
      (listener) => (guest.notify = listener),
      () => raised++,
    ),
    deadline: (callback) => {
      const entry = { at: Infinity, callback }
      deadlines.push(entry)
      return { set: (at) => (entry.at = at) }
    },
  })
  host.write(HOME, '')
  host.setPermissions(HOME, ['n0', 'r1'])
  for (const name of ['data', 'device']) {
    host.mkdir(`${HOME}/${name}`)
    host.setPermissions(`${HOME}/${name}`, ['n1'])
  }
})

describe('the tree', () => {
  test('what is written is read, relative to the domain', () => {
    expect(guest.ask(T.WRITE, 'data/a/b\0value\0more')).toBe('OK\0')
    expect(guest.ask(T.READ, `${HOME}/data/a/b\0`)).toBe('value\0more')
    expect(guest.ask(T.DIRECTORY, 'data\0')).toBe('a\0')
    expect(guest.ask(T.READ, 'data/a\0')).toBe('')
    expect(host.read(`${HOME}/data/a/b`)).toBe('value\0more')
  })

  test('mkdir keeps what there is', () => {
    guest.ask(T.WRITE, 'data/a\0x')
    expect(guest.ask(T.MKDIR, 'data/a\0')).toBe('OK\0')
    expect(guest.ask(T.READ, 'data/a\0')).toBe('x')
    expect(guest.ask(T.MKDIR, 'data/c\0')).toBe('OK\0')
    expect(guest.ask(T.DIRECTORY, 'data\0')).toBe('a\0c\0')
  })

  test('rm takes all below; of nothing it is right if the parent is there', () => {
    guest.ask(T.WRITE, 'data/a/b/c\0x')
    expect(guest.ask(T.RM, 'data/a\0')).toBe('OK\0')
    expect(guest.ask(T.READ, 'data/a/b/c\0')).toBe('!ENOENT')
    expect(guest.ask(T.RM, 'data/a\0')).toBe('OK\0')
    expect(guest.ask(T.RM, 'data/a/b\0')).toBe('!ENOENT')
    expect(() => host.remove('/')).toThrow('EINVAL')
  })

  test.each([
    ['none', '', '!EINVAL'],
    ['an empty name', '/a//b\0', '!EINVAL'],
    ['a slash at the end', '/a/\0', '!EINVAL'],
    ['a character that is none', '/a b\0', '!EINVAL'],
    ['too long', `/${'n'.repeat(2048)}\0`, '!EINVAL'],
    ['as long as can be', `data/${'n'.repeat(2043)}\0`, '!ENOENT'],
    ['too long below the home', `data/${'n'.repeat(2044)}\0`, '!EINVAL'],
    ['two of them', 'data\0data\0', '!EINVAL'],
    ['without its end', 'data', '!EINVAL'],
  ])('a path: %s', (_, payload, answer) => {
    expect(guest.ask(T.READ, payload)).toBe(answer)
  })

  test('a directory that is too long for a message comes in parts', () => {
    for (let i = 0; i < 20; i++) host.write(`/long/${'n'.repeat(300)}${i}`, '')
    expect(() => host.list('/long')).toThrow('E2BIG')
    host.setPermissions('/long', ['r0'])
    let names = ''
    let generation: string | undefined
    for (;;) {
      const answer = guest.ask(T.DIRECTORY_PART, `/long\0${names.length}\0`)
      const end = answer.indexOf('\0') + 1
      generation ??= answer.slice(0, end)
      expect(answer.slice(0, end)).toBe(generation)
      expect(answer.length).toBeLessThanOrEqual(4096)
      const part = answer.slice(end)
      if (part.endsWith('\0\0') || part === '\0') {
        names += part.slice(0, -1)
        break
      }
      names += part
    }
    expect(names.split('\0').length).toBe(21)
    expect(guest.ask(T.DIRECTORY_PART, '/long\0'.concat('99999\0'))).toBe(`${generation}\0`)
  })

  test('requests that there are not, and those that are not for guests', () => {
    for (const type of [15, 16, 20, 23, 0xffffffff]) expect(guest.ask(type, 'x\0')).toBe('!ENOSYS')
    for (const type of [T.CONTROL, T.INTRODUCE, T.RELEASE, T.IS_DOMAIN_INTRODUCED, T.RESUME, T.SET_TARGET])
      expect(guest.ask(type, '1\0')).toBe('!EACCES')
    expect(guest.ask(T.GET_DOMAIN_PATH, '7\0')).toBe('/local/domain/7\0')
  })
})

describe('permissions', () => {
  test('a guest reads what it may, and learns nothing about the rest', () => {
    host.write('/secret/node', 'x')
    expect(guest.ask(T.READ, '/secret/node\0')).toBe('!EACCES')
    expect(guest.ask(T.READ, '/secret/other\0')).toBe('!EACCES')
    expect(guest.ask(T.WRITE, `${HOME}/name\0x`)).toBe('!EACCES')
    host.setPermissions('/secret/node', ['n0', 'b1'])
    expect(guest.ask(T.READ, '/secret/node\0')).toBe('x')
    expect(guest.ask(T.WRITE, '/secret/node\0y')).toBe('OK\0')
    expect(guest.ask(T.GET_PERMS, '/secret/node\0')).toBe('n0\0b1\0')
  })

  test('what a guest makes is its own, and inherits the rest', () => {
    host.setPermissions(`${HOME}/data`, ['w0', 'b1'])
    guest.ask(T.WRITE, 'data/x\0')
    expect(guest.ask(T.GET_PERMS, 'data/x\0')).toBe('w1\0b1\0')
    expect(guest.ask(T.SET_PERMS, 'data/x\0r1\0n0\0')).toBe('OK\0')
    expect(guest.ask(T.SET_PERMS, 'data/x\0n0\0')).toBe('!EPERM')
    expect(guest.ask(T.SET_PERMS, 'data\0n1\0')).toBe('!EACCES')
    expect(guest.ask(T.SET_PERMS, 'data/x\0q1\0')).toBe('!EINVAL')
    expect(guest.ask(T.SET_PERMS, 'data/x\0')).toBe('!EINVAL')
    expect(guest.ask(T.SET_PERMS, 'data/x\0n5\0')).toBe('!ENOENT')
    expect(guest.ask(T.SET_PERMS, 'data/x\0n1\0r5\0')).toBe('OK\0')
    expect(guest.ask(T.GET_PERMS, 'data/x\0')).toBe('n1\0r5\0')
    expect(guest.ask(T.SET_PERMS, `data/x\0n1\0${'r0\0'.repeat(5)}`)).toBe('!ENOSPC')
    expect(guest.ask(T.SET_PERMS, '@releaseDomain\0n1\0')).toBe('!EACCES')
  })
})

describe('watches', () => {
  test('the first event follows the answer at once, then one for each change', () => {
    expect(guest.ask(T.WATCH, 'data\0tok\0')).toBe('OK\0')
    expect(guest.takeEvents()).toEqual(['data\0tok\0'])
    guest.ask(T.WRITE, 'data/a\0x')
    host.write(`${HOME}/data/a`, 'y')
    expect(guest.takeEvents()).toEqual(['data/a\0tok\0', 'data/a\0tok\0'])
    expect(guest.ask(T.WATCH, 'data\0tok\0')).toBe('!EEXIST')
    expect(guest.ask(T.UNWATCH, `${HOME}/data\0tok\0`)).toBe('OK\0')
    expect(guest.ask(T.UNWATCH, 'data\0tok\0')).toBe('!ENOENT')
    guest.ask(T.WRITE, 'data/a\0z')
    expect(guest.takeEvents()).toEqual([])
  })

  test('removing a tree tells those who watch in it their own path', () => {
    guest.ask(T.WRITE, 'data/a/b\0x')
    for (const path of ['data', 'data/a', 'data/a/b']) guest.ask(T.WATCH, `${HOME}/${path}\0${path}\0`)
    guest.takeEvents()
    guest.ask(T.RM, 'data/a\0')
    expect(guest.takeEvents().sort()).toEqual([
      `${HOME}/data/a\0data\0`,
      `${HOME}/data/a\0data/a\0`,
      `${HOME}/data/a/b\0data/a/b\0`,
    ])
  })

  test('what cannot be read is not told', () => {
    host.write('/secret', 'x')
    guest.ask(T.WATCH, '/secret\0s\0')
    guest.takeEvents()
    host.write('/secret', 'y')
    expect(guest.takeEvents()).toEqual([])
    host.setPermissions('/secret', ['r0'])
    expect(guest.takeEvents()).toEqual(['/secret\0s\0'])
    host.setPermissions('/secret', ['n0'])
    expect(guest.takeEvents()).toEqual(['/secret\0s\0'])
  })

  test('special paths are for domain 0', () => {
    expect(guest.ask(T.WATCH, '@releaseDomain\0r\0')).toBe('OK\0')
    expect(guest.takeEvents()).toEqual(['@releaseDomain\0r\0'])
    const seen: string[] = []
    host.watch('@releaseDomain', (path) => seen.push(path))
    server.fireSpecial('@releaseDomain')
    expect(guest.takeEvents()).toEqual([])
    expect(seen).toEqual(['@releaseDomain', '@releaseDomain'])
  })

  test('domain 0 can let a guest know of domains', () => {
    guest.ask(T.WATCH, '@releaseDomain\0r\0')
    guest.takeEvents()
    host.setPermissions('@releaseDomain', ['n0', 'r1'])
    server.fireSpecial('@releaseDomain')
    expect(guest.takeEvents()).toEqual(['@releaseDomain\0r\0'])
    expect(() => host.setPermissions('@other', ['n0'])).toThrow('EINVAL')
  })

  test('an event that waits is not doubled; one that waits too long is dropped', () => {
    guest.ask(T.WATCH, 'data\0tok\0')
    guest.takeEvents()
    // A full ring keeps them in the server.
    const { view } = guest.page
    const consumer = view.getUint32(2056, true)
    view.setUint32(2056, (view.getUint32(2060, true) - 1024) >>> 0, true)
    for (let i = 0; i < 3; i++) host.write(`${HOME}/data/a`, String(i))
    host.write(`${HOME}/data/b`, '')
    view.setUint32(2056, consumer, true)
    guest.notify()
    expect(guest.takeEvents()).toEqual(['data/a\0tok\0', 'data/b\0tok\0'])
    view.setUint32(2056, (view.getUint32(2060, true) - 1024) >>> 0, true)
    host.write(`${HOME}/data/a`, 'late')
    now += 20e9
    view.setUint32(2056, view.getUint32(2060, true), true)
    guest.notify()
    expect(guest.takeEvents()).toEqual([])
  })

  test('reset takes watches and transactions away', () => {
    guest.ask(T.WATCH, 'data\0tok\0')
    const id = Number.parseInt(guest.ask(T.TRANSACTION_START, '\0'), 10)
    guest.takeEvents()
    expect(guest.ask(T.RESET_WATCHES, '\0')).toBe('OK\0')
    guest.ask(T.WRITE, 'data/a\0x')
    expect(guest.takeEvents()).toEqual([])
    expect(guest.ask(T.READ, 'data\0', id)).toBe('!ENOENT')
  })
})

describe('transactions', () => {
  const start = () => Number.parseInt(guest.ask(T.TRANSACTION_START, '\0'), 10)

  test('are seen when they end, and then tell watchers', () => {
    guest.ask(T.WATCH, 'data\0tok\0')
    const id = start()
    guest.ask(T.WRITE, 'data/a\0x', id)
    guest.ask(T.WRITE, 'data/b\0y', id)
    expect(guest.ask(T.READ, 'data/a\0', id)).toBe('x')
    expect(guest.ask(T.READ, 'data/a\0')).toBe('!ENOENT')
    guest.takeEvents()
    expect(guest.ask(T.TRANSACTION_END, 'T\0', id)).toBe('OK\0')
    expect(guest.takeEvents()).toEqual(['data/a\0tok\0', 'data/b\0tok\0'])
    expect(guest.ask(T.READ, 'data/b\0')).toBe('y')
    expect(guest.ask(T.TRANSACTION_END, 'T\0', id)).toBe('!ENOENT')
    expect(guest.ask(T.TRANSACTION_END, 'T\0')).toBe('!ENOENT')
  })

  test('fail if what they have read has changed', () => {
    guest.ask(T.WRITE, 'data/a\0x')
    const id = start()
    guest.ask(T.READ, 'data/a\0', id)
    guest.ask(T.WRITE, 'data/b\0y', id)
    host.write(`${HOME}/data/a`, 'changed')
    expect(guest.ask(T.READ, 'data/a\0', id)).toBe('x')
    expect(guest.ask(T.TRANSACTION_END, 'T\0', id)).toBe('!EAGAIN')
    expect(guest.ask(T.READ, 'data/b\0')).toBe('!ENOENT')
  })

  test('that are given up leave nothing', () => {
    const id = start()
    guest.ask(T.RM, 'data\0', id)
    guest.ask(T.MKDIR, 'device/x\0', id)
    expect(guest.ask(T.TRANSACTION_END, 'F\0', id)).toBe('OK\0')
    expect(guest.ask(T.DIRECTORY, 'device\0')).toBe('')
    expect(guest.ask(T.READ, 'data\0')).toBe('')
  })

  test('that have seen a parent before its child cannot remove the child', () => {
    const id = start()
    guest.ask(T.DIRECTORY, 'data\0', id)
    guest.ask(T.MKDIR, 'data/new\0')
    expect(guest.ask(T.RM, 'data/new\0', id)).toBe('!EIO')
    expect(guest.ask(T.TRANSACTION_END, 'T\0', id)).toBe('!EAGAIN')
  })

  test('remove and make again', () => {
    guest.ask(T.WRITE, 'data/a/b\0x')
    const id = start()
    guest.ask(T.RM, 'data/a\0', id)
    expect(guest.ask(T.READ, 'data/a/b\0', id)).toBe('!ENOENT')
    guest.ask(T.WRITE, 'data/a/c\0y', id)
    expect(guest.ask(T.TRANSACTION_END, 'T\0', id)).toBe('OK\0')
    expect(guest.ask(T.DIRECTORY, 'data/a\0')).toBe('c\0')
  })

  test('the host sees its own at once, too', () => {
    host.transaction(() => {
      host.write('/t/a', 1)
      host.write('/t/b', 2)
    })
    expect(host.list('/t')).toEqual(['a', 'b'])
  })
})

describe('quotas', () => {
  test('watches', () => {
    for (let i = 0; i <= 128; i++) expect(guest.ask(T.WATCH, `data\0${i}\0`)).toBe('OK\0')
    expect(guest.ask(T.WATCH, 'data\0more\0')).toBe('!E2BIG')
  })

  test('transactions', () => {
    for (let i = 0; i <= 10; i++) expect(guest.ask(T.TRANSACTION_START, '\0')).toBe(`${i + 1}\0`)
    expect(guest.ask(T.TRANSACTION_START, '\0')).toBe('!ENOSPC')
  })

  test('nodes and their size', () => {
    expect(guest.ask(T.WRITE, `data/a\0${'x'.repeat(2048 - 24 - 8 - 1)}`)).toBe('OK\0')
    expect(guest.ask(T.WRITE, `data/b\0${'x'.repeat(2048 - 24 - 8)}`)).toBe('!ENOSPC')
    // data, device and data/a are there; a node's children count as its size.
    for (let i = 3; i < 1000; i++) expect(guest.ask(T.MKDIR, `data/${i % 100}/${i}\0`)).toMatch(/^OK|^!ENOSPC/)
    expect(guest.ask(T.MKDIR, 'device/last\0')).toBe('!ENOSPC')
    guest.ask(T.RM, 'data/5\0')
    expect(guest.ask(T.MKDIR, 'device/last\0')).toBe('OK\0')
  })

  test('a guest that takes no answers is not served any more, and is when it does', () => {
    for (let i = 0; i < 100; i++) {
      const producer = guest.page.view.getUint32(2052, true)
      if (producer - guest.page.view.getUint32(2048, true) > 1024 - 32) break
      guest.send(encodeMessage(message(T.GET_DOMAIN_PATH, `${i}\0`, i)))
    }
    const answers = guest.receive()
    expect(answers.length).toBeGreaterThan(40)
    expect(answers.map(({ request }) => request)).toEqual(answers.map((_, i) => i))
  })

  test('events that nobody takes: there comes a time when no more are kept', () => {
    const size = () => JSON.stringify(save(server)).length
    const flood = (from: number, to: number) => {
      for (let i = from; i < to; i++) {
        const path = `${HOME}/data/${i}${'x'.repeat(400)}`
        host.write(path, 'x')
        host.remove(path)
      }
    }
    for (let i = 0; i < 20; i++) guest.ask(T.WATCH, `data\0${i}\0`)
    flood(0, 300)
    const before = size()
    flood(300, 500)
    expect(size()).toBeLessThan(before * 1.1)
    expect(host.read('/tool')).toBe('')
  })

  test('writes while a transaction is open are slowed down', () => {
    guest.ask(T.TRANSACTION_START, '\0')
    let done = 0
    const write = encodeMessage(message(T.WRITE, 'data/a\0x'))
    for (let i = 0; i < 20; i++) {
      guest.send(write)
      done += guest.receive().length
    }
    expect(done).toBeGreaterThanOrEqual(8)
    expect(done).toBeLessThan(20)
    for (let i = 0; i < 100; i++) advance(10e6)
    expect(done + guest.receive().length).toBe(20)
  })
})

describe('a ring that is none', () => {
  const error = () => guest.page.view.getUint32(2072, true)

  test('too many bytes asked for', () => {
    guest.page.view.setUint32(2052, 1025, true)
    guest.notify()
    expect(error()).toBe(2)
    guest.page.view.setUint32(2052, 0, true)
    guest.send(encodeMessage(message(T.READ, 'data\0')))
    expect(guest.receive()).toEqual([])
  })

  test('answers taken that were not given', () => {
    guest.page.view.setUint32(2056, 5000, true)
    guest.send(encodeMessage(message(T.READ, 'data\0')))
    expect(error()).toBe(2)
  })

  test('a message that is too long', () => {
    const bytes = encodeMessage(message(T.READ, 'data\0'))
    new DataView(bytes.buffer).setUint32(12, 4097, true)
    guest.send(bytes.subarray(0, 16))
    expect(error()).toBe(3)
    // The host goes on.
    host.write('/x', 'y')
    expect(host.read('/x')).toBe('y')
    ring.close()
    expect(guest.page.released).toBe(true)
  })

  test('garbage never harms the host', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            bytes: fc.uint8Array({ maxLength: 64 }),
            type: fc.integer({ min: 0, max: 24 }),
            text: fc.constantFrom('data\0', 'data/a\0x\0', '\0', 'T\0', '@x\0y\0', '/local\0', 'data/a\0n1\0r0\0'),
            index: fc.constantFrom(-1, -1, -1, 2048, 2052, 2056, 2060),
            value: fc.integer({ min: 0, max: 0xffffffff }),
            transaction: fc.integer({ min: 0, max: 3 }),
          }),
          { maxLength: 60 },
        ),
        (steps) => {
          const page = new TestPage()
          const wild = new TestGuest(page)
          const wildRing = new StoreRing({
            server,
            domain: 1,
            page,
            port: 1,
            signals: testSignals((listener) => (wild.notify = listener)),
            deadline: () => ({ set: () => {} }),
          })
          for (const { bytes, type, text, index, value, transaction } of steps) {
            if (index >= 0) page.view.setUint32(index, value, true)
            try {
              wild.send(bytes.length > 60 ? bytes : encodeMessage(message(type, text, 1, transaction)))
            } catch {
              // It takes nothing any more.
            }
            page.view.setUint32(2056, page.view.getUint32(2060, true), true)
            wild.notify()
          }
          wildRing.close()
          expect(host.read('/tool')).toBe('')
        },
      ),
      { numRuns: 200 },
    )
  })
})

test("a domain's nodes are those that libxl writes", () => {
  const ends = { store: { port: 1, frame: 0x104 }, console: { port: 2, frame: 0x105 } }
  writeDomain(host, { domain: 1, uuid: 'u-1', name: 'guest', vcpus: 2, maximum: 262144, target: 131072, ...ends })
  const answers = {
    'memory/target': '131072',
    'memory/static-max': '262144',
    'cpu/1/availability': 'online',
    'control/platform-feature-xs_reset_watches': '1',
    'store/port': '1',
    'console/ring-ref': '261',
    'console/type': 'xenconsoled',
    name: 'guest',
    domid: '1',
    vm: '/vm/u-1',
  }
  for (const [path, value] of Object.entries(answers)) expect(guest.ask(T.READ, `${path}\0`)).toBe(value)
  for (const path of [
    'data/x',
    'control/shutdown',
    'control/feature-suspend',
    'error/a',
    'device/suspend/event-channel',
  ])
    expect(guest.ask(T.WRITE, `${path}\0x`)).toBe('OK\0')
  for (const path of ['device/vbd/1', 'memory/target', 'control/x', 'console/port', 'name'])
    expect(guest.ask(T.WRITE, `${path}\0x`)).toBe('!EACCES')
})

describe('requests are told', () => {
  test('with what they ask and what they were answered; those of the host are not', () => {
    host.write(`${HOME}/data/b`, 2)
    guest.ask(T.WRITE, 'data/a\0one\0')
    guest.ask(T.READ, 'data/a\0')
    guest.ask(T.READ, 'data/c\0')
    guest.ask(T.DIRECTORY, 'data\0')
    guest.ask(T.SET_PERMS, 'data/a\0n1\0r0\0')
    guest.ask(T.WATCH, 'data\0token\0')
    const id = Number.parseInt(guest.ask(T.TRANSACTION_START, '\0'))
    guest.ask(T.RM, 'data/a\0', id)
    guest.ask(T.TRANSACTION_END, 'F\0', id)
    guest.ask(T.INTRODUCE, '1\0')
    guest.ask(99, '')
    expect(lines).toEqual([
      String.raw`XS_WRITE(tx_id=0, path="data/a", value="one\u0000") = 0`,
      String.raw`XS_READ(tx_id=0, path="data/a", value="one\u0000") = 0`,
      'XS_READ(tx_id=0, path="data/c") = ENOENT',
      'XS_DIRECTORY(tx_id=0, path="data", answer="b,a") = 0',
      'XS_SET_PERMS(tx_id=0, path="data/a", perms="n1,r0") = 0',
      'XS_WATCH(tx_id=0, path="data", token="token") = 0',
      'XS_TRANSACTION_START(tx_id=0, answer="1") = 0',
      'XS_RM(tx_id=1, path="data/a") = 0',
      'XS_TRANSACTION_END(tx_id=1, commit="F") = 0',
      'XS_INTRODUCE(tx_id=0, payload="1") = EACCES',
      'XS_unknown(tx_id=0, type=99) = ENOSYS',
    ])
  })

  test('one that is refused is not carried out', () => {
    refusals.set('XS_WRITE', 'ENOSPC')
    expect(guest.ask(T.WRITE, 'data/a\0one')).toBe('!ENOSPC')
    host.write(`${HOME}/data/b`, 2)
    expect(host.list(`${HOME}/data`)).toEqual(['b'])
    expect(lines).toEqual(['XS_WRITE(tx_id=0, path="data/a", value="one") = ENOSPC'])
  })
})
