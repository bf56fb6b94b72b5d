/** A guest gets every answer that is declared, and no error that is not. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Observer } from '../../../paravirt/observe.ts'
import { StoreClient } from './client.ts'
import { storeDeclarations } from './declarations.ts'
import { StoreRing } from './ring.ts'
import { StoreServer } from './server.ts'
import { TestGuest, TestPage, testSignals } from './testing.ts'
import { MessageType as T } from './wire.ts'

const HOME = '/local/domain/1'
const NOTHING = 999
const answered = new Set<string>()
let guest: TestGuest
let host: StoreClient
let ring: StoreRing
/** No request waits for its writes to be paid. */
let now = 0

beforeAll(() => {
  const observer = new Observer(() => 0)
  observer.listen(({ request, result }) => answered.add(`${request.name} ${result}`))
  const server = new StoreServer(() => (now += 1e9), observer.rings)
  host = new StoreClient(server)
  const page = new TestPage()
  guest = new TestGuest(page)
  const signals = testSignals((listener) => (guest.notify = listener))
  ring = new StoreRing({ server, domain: 1, page, port: 1, signals, deadline: () => ({ set: () => {} }) })
  for (const [path, permissions] of [
    ['', ['n0', 'r1']],
    ['/data', ['n1']],
    ['/closed', ['n0']],
    ['/long', ['n0', 'r1']],
  ] as const) {
    host.mkdir(HOME + path)
    host.setPermissions(HOME + path, permissions)
  }
  for (let i = 0; i < 50; i++) host.mkdir(`${HOME}/long/${'x'.repeat(100)}${i}`)
})

afterAll(() => ring.close())

const begin = () => Number.parseInt(guest.ask(T.TRANSACTION_START, '\0'))
const end = (id: number, how = 'T') => guest.ask(T.TRANSACTION_END, `${how}\0`, id)
/** Requests that name a path, with the rest of their payload. */
const ofPaths = [
  [T.DIRECTORY, '\0'],
  [T.READ, '\0'],
  [T.GET_PERMS, '\0'],
  [T.DIRECTORY_PART, '\x000\0'],
  [T.WRITE, '\0value'],
  [T.MKDIR, '\0'],
  [T.RM, '\0'],
  [T.SET_PERMS, '\0n1\0'],
] as const
const ofAllPaths = (path: string, transaction = 0) =>
  ofPaths.map(([type, rest]) => guest.ask(type, path + rest, transaction))

test('paths that are none, that are closed, that are not there, and transactions that are not', () => {
  expect(ofAllPaths('a b')).toEqual(ofPaths.map(() => '!EINVAL'))
  expect(ofAllPaths('closed/a')).toEqual(ofPaths.map(() => '!EACCES'))
  expect(ofAllPaths('data/a', NOTHING)).toEqual(ofPaths.map(() => '!ENOENT'))
  expect(ofAllPaths('data/b/c').map((answer) => answer.startsWith('!'))).toEqual(
    [T.DIRECTORY, T.READ, T.GET_PERMS, T.DIRECTORY_PART].map(() => true).concat([false, false, false, true]),
  )
  for (const type of [T.TRANSACTION_START, T.TRANSACTION_END, T.RESET_WATCHES])
    expect(guest.ask(type, 'T\0', NOTHING)).toBe('!ENOENT')
  expect(guest.ask(T.GET_DOMAIN_PATH, '1\0', NOTHING)).toBe('!ENOENT')
})

test('what is done', () => {
  expect(guest.ask(T.WRITE, 'data/a\0one')).toBe('OK\0')
  expect(ofAllPaths('data/a')).toEqual(
    ['', 'one', 'n1\0', expect.stringMatching(/^\d+\0\0$/), ...Array(4).fill('OK\0')].slice(0, 7).concat('!ENOENT'),
  )
  expect(guest.ask(T.WRITE, 'data/a\0one')).toBe('OK\0')
  expect(guest.ask(T.SET_PERMS, 'data/a\0n1\0r0\0')).toBe('OK\0')
  expect(guest.ask(T.WATCH, 'data\0w\0')).toBe('OK\0')
  expect(guest.ask(T.UNWATCH, 'data\0w\0')).toBe('OK\0')
  expect(end(begin())).toBe('OK\0')
  expect(guest.ask(T.GET_DOMAIN_PATH, '1\0')).toBe(`${HOME}\0`)
  expect(guest.ask(T.RESET_WATCHES, '\0')).toBe('OK\0')
})

test('what only domain 0 may', () => {
  for (const type of [T.CONTROL, T.INTRODUCE, T.RELEASE, T.IS_DOMAIN_INTRODUCED, T.RESUME, T.SET_TARGET])
    expect(guest.ask(type, '1\0')).toBe('!EACCES')
})

test('lists that are too long, owners that are others or nobody, permissions that are too many', () => {
  expect(guest.ask(T.DIRECTORY, 'long\0')).toBe('!E2BIG')
  expect(guest.ask(T.SET_PERMS, 'data/a\0n0\0')).toBe('!EPERM')
  expect(guest.ask(T.SET_PERMS, 'data/a\0n7\0')).toBe('!ENOENT')
  expect(guest.ask(T.SET_PERMS, `data/a\0n1\0${'r0\0'.repeat(5)}`)).toBe('!ENOSPC')
})

test('watches', () => {
  for (const type of [T.WATCH, T.UNWATCH]) expect(guest.ask(type, 'data\0')).toBe('!EINVAL')
  expect(guest.ask(T.UNWATCH, 'data\0w\0')).toBe('!ENOENT')
  for (let i = 0; i < 129; i++) guest.ask(T.WATCH, `data\0${i}\0`)
  expect(guest.ask(T.WATCH, 'data\x005\0')).toBe('!EEXIST')
  expect(guest.ask(T.WATCH, 'data\0more\0')).toBe('!E2BIG')
  guest.ask(T.RESET_WATCHES, '\0')
})

test('transactions', () => {
  expect(guest.ask(T.GET_DOMAIN_PATH, '1')).toBe('!EINVAL')
  const id = begin()
  expect(guest.ask(T.TRANSACTION_START, '\0', id)).toBe('!EBUSY')
  expect(end(id, 'X')).toBe('!EINVAL')
  guest.ask(T.READ, 'data/a\0', id)
  guest.ask(T.WRITE, 'data/a\0two')
  expect(end(id)).toBe('!EAGAIN')
  const seen = begin()
  guest.ask(T.DIRECTORY, 'data\0', seen)
  guest.ask(T.WRITE, 'data/later\0')
  expect(guest.ask(T.RM, 'data/later\0', seen)).toBe('!EIO')
  end(seen, 'F')
  for (let i = 0; i < 11; i++) begin()
  expect(guest.ask(T.TRANSACTION_START, '\0')).toBe('!ENOSPC')
  guest.ask(T.RESET_WATCHES, '\0')
})

test('a transaction that touches too much', () => {
  const id = begin()
  for (let i = 0; i < 1024; i++) guest.ask(T.READ, `data/${i}\0`, id)
  expect(ofAllPaths('data/new', id)).toEqual(ofPaths.map(() => '!ENOSPC'))
  expect(end(id)).toBe('!ENOMEM')
})

/** Not too many in one folder, whose node would grow too large. */
const node = (i: number, name = 'n') => `data/${name}${Math.floor(i / 100)}/${i}`

test('nodes that are too many', () => {
  for (let i = 0; i < 970; i++) expect(guest.ask(T.MKDIR, `${node(i)}\0`)).toBe('OK\0')
  const id = begin()
  for (let i = 0; i < 30; i++) expect(guest.ask(T.MKDIR, `${node(i, 't')}\0`, id)).toBe('OK\0')
  expect(end(id)).toBe('!ENOSPC')
  for (let i = 0; i < 30; i++) guest.ask(T.MKDIR, `${node(i, 'm')}\0`)
  for (const type of [T.MKDIR, T.WRITE]) expect(guest.ask(type, 'data/one-more\0')).toBe('!ENOSPC')
  guest.ask(T.RM, 'data/m0\0')
})

test('memory that is used up', () => {
  const fill = (i: number, length: number) => guest.ask(T.WRITE, `${node(i)}\0${'x'.repeat(length)}`) === 'OK\0'
  for (let i = 0; i < 600; i++) expect(fill(i, 1900)).toBe(true)
  const id = begin()
  for (let i = 0; i < 600; i++) guest.ask(T.READ, `${node(i)}\0`, id)
  let next = 600
  for (const length of [1900, 300, 40, 6, 1]) while (fill(next, length)) next++
  expect(next).toBeLessThan(970)
  expect(guest.ask(T.WRITE, `${node(next)}\0${'x'.repeat(1900)}`)).toBe('!ENOMEM')
  expect(guest.ask(T.MKDIR, 'data/one-more\0')).toBe('!ENOMEM')
  expect(guest.ask(T.WATCH, 'data\0w\0')).toBe('!ENOMEM')
  expect(guest.ask(T.SET_PERMS, `${node(next)}\0n1\0r0\0`)).toBe('!ENOMEM')
})

test('these were all', () => {
  const wanted = storeDeclarations.flatMap(({ name, errors }) => [
    ...(Object.values(errors).includes('always') ? [] : [`${name} 0`]),
    ...Object.keys(errors).map((error) => `${name} ${error}`),
  ])
  expect([...answered].sort()).toEqual(wanted.sort())
})
