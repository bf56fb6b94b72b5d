/** A PVH domain without a machine, for tests: hypercalls by name, with their structures' members by name. */
import { cpuModel, type CpuModelName } from '../../cpu/models.ts'
import type { Register } from '../../paravirt/effects.ts'
import { Mock, type MockVcpu } from '../../paravirt/mock.ts'
import { type Event, Observer } from '../../paravirt/observe.ts'
import { chosenFeatures, type PlatformOptions } from '../../paravirt/platform.ts'
import { errorName } from './errno.ts'
import type { Command } from './hypercalls/declare.ts'
import { hypercalls } from './hypercalls/index.ts'
import { XenHvmPlatform, xenPvh, XenPvhPlatform } from './index.ts'
import type { Field } from './struct.ts'

const PAGE = 4096
/** Where tests put structures and lists: linear addresses are physical ones. */
export const BUFFER = 0x8000
export const LIST = 0x9000
/** No memory is there. */
export const NOWHERE = 0x7fff_f000

const wide: readonly Register[] = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9']
const narrow: readonly Register[] = ['rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp']

export type Value = number | bigint
export interface Answer {
  /** The value, or the error's name. */
  readonly answer: number | string
  /** The structure afterwards. */
  readonly out: Readonly<Record<string, bigint>>
}
export interface Options {
  readonly vcpu?: number
  /** Arguments after the command, instead of a pointer to the structure. */
  readonly args?: readonly Value[]
  /** Where the structure is. */
  readonly at?: number
}

export interface Setup {
  readonly vcpus?: number
  readonly features?: readonly string[]
  readonly cpu?: CpuModelName
  readonly pages?: number
}

export function setUp(setup: Setup = {}) {
  return guestOf(setup, (options) => new XenPvhPlatform(options))
}

/** The same with the Xen platform device. */
export function setUpHvm(setup: Setup = {}) {
  return guestOf(setup, (options) => new XenHvmPlatform(options))
}

function guestOf<P extends XenPvhPlatform>(
  { vcpus = 4, features = [], cpu = 'inorder', pages = 256 }: Setup,
  create: (options: PlatformOptions) => P,
) {
  const mock = new Mock({ vcpus, pages, frames: 256 })
  for (const each of mock.vcpus.slice(1)) each.running = false
  const observer = new Observer(() => mock.effects.time.now())
  const events: Event[] = []
  observer.listen((event) => events.push(event))
  const platform = create({
    effects: mock.effects,
    model: cpuModel(cpu),
    features: chosenFeatures(xenPvh, features),
    observer,
  })
  const { domain } = platform
  const { view } = mock
  const all = new Map<string, Command>()
  for (const { commands = [] } of hypercalls)
    for (const each of commands) if (each.guest !== 'pv') all.set(each.name, each)

  const set = (vcpu: number, name: Register, value: Value) =>
    mock.vcpus[vcpu]?.registers.set(name, BigInt.asUintN(64, BigInt(value)))

  /** A hypercall by number. */
  const raw = (number: Value, args: readonly Value[], vcpu = 0): number | string | '#UD' | 'again' => {
    const state = mock.vcpus[vcpu] as MockVcpu
    const names = state.wide ? wide : narrow
    set(vcpu, 'rax', number)
    for (const [i, name] of names.entries()) set(vcpu, name, args[i] ?? 0)
    return again(vcpu)
  }
  /** The same instruction once more. */
  const again = (vcpu = 0): number | string => {
    const state = mock.vcpus[vcpu] as MockVcpu
    const done = platform.hypercall(vcpu, domain.vmmcall ? 'vmmcall' : 'vmcall')
    if (done !== true) return done === 'again' ? 'again' : '#UD'
    const value = Number(BigInt.asIntN(state.wide ? 64 : 32, state.registers.get('rax') as bigint))
    return errorName(value) ?? value
  }

  const write = ({ c, wide: far, narrow: near }: Field, at: number, value: Value, isWide: boolean) => {
    const place = at + (isWide ? far : near)
    const big = BigInt.asUintN(64, BigInt(value))
    const size = c === 'long' || c === 'pointer' ? (isWide ? 8 : 4) : Number(/\d+/.exec(c)?.[0] ?? 32) / 8
    for (let i = 0; i < size; i++) view.setUint8(place + i, Number((big >> BigInt(8 * i)) & 0xffn))
  }
  const read = ({ c, wide: far, narrow: near }: Field, at: number, isWide: boolean) => {
    const place = at + (isWide ? far : near)
    const size = c === 'long' || c === 'pointer' ? (isWide ? 8 : 4) : Number(/\d+/.exec(c)?.[0] ?? 32) / 8
    let value = 0n
    for (let i = 0; i < size; i++) value |= BigInt(view.getUint8(place + i)) << BigInt(8 * i)
    return c.startsWith('s') ? BigInt.asIntN(8 * size, value) : value
  }

  /** A command by name, with the members of its structure. */
  const op = (name: string, values: Readonly<Record<string, Value>> = {}, options: Options = {}): Answer => {
    const request = all.get(name)
    if (!request) throw new Error(`there is no ${name}`)
    const { vcpu = 0, at = BUFFER } = options
    const isWide = (mock.vcpus[vcpu] as MockVcpu).wide
    const list = (request.struct ?? request.element)?.list ?? []
    if (at < view.byteLength) for (const field of list) write(field, at, values[field.name] ?? 0, isWide)
    const answer = raw(request.number, [request.command, ...(options.args ?? [at])], vcpu)
    const out = at < view.byteLength ? list.map((field) => [field.name, read(field, at, isWide)]) : []
    return { answer, out: Object.fromEntries(out) }
  }

  /** Words of 64 bits in memory. */
  const words = (at: number, ...values: readonly Value[]) => {
    for (const [i, value] of values.entries()) view.setBigUint64(at + 8 * i, BigInt.asUintN(64, BigInt(value)), true)
  }
  /** What the platform did since the last time. */
  const done = () => mock.log.splice(0)
  const vcpu = (index: number) => mock.vcpus[index] as MockVcpu
  const info = (index: number) => domain.vcpus[index]?.info as number
  /** Map shared_info and grant frames as a guest does. */
  const frameOf = (gfn: number) => gfn * PAGE
  const bytes = (at: number, length: number) => mock.ram.slice(at, at + length)
  return { mock, platform, domain, observer, events, view, raw, again, op, words, done, vcpu, info, frameOf, bytes }
}

export type Guest = ReturnType<typeof setUp>
