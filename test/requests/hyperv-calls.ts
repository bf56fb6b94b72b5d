/** What the model answers to hypercalls. */
import type { Hypercall } from '../../src/platforms/hyperv/hypercalls/declare.ts'
import type { Status } from '../../src/platforms/hyperv/status.ts'
import { type CallAnswer, MEMORY, type Model, VCPUS } from './hyperv-model.ts'

/** One call, as a guest makes it. */
export interface CallStep {
  readonly kind: 'call'
  /** Undefined: the code is unknown. */
  readonly request: Hypercall | undefined
  readonly code: number
  readonly vcpu: number
  readonly fast: boolean
  readonly header: number
  readonly count: number
  readonly start: number
  /** More bits of the control word. */
  readonly extra: bigint
  readonly body: Uint8Array
  readonly input: bigint
  readonly output: bigint
  readonly privilege: number
  readonly protectedMode: boolean
  readonly wide: boolean
  readonly instruction: 'vmcall' | 'vmmcall'
}

const PAGE = 4096n
const RESERVED = 0xf000_f000_7800_0000n
const SELF = (1n << 64n) - 1n
const SELF_VP = 0xfffffffe

/** Registers that are MSRs. */
export function msrOfRegister(name: number): number | undefined {
  const ranges: readonly (readonly [first: number, count: number, msr: number])[] = [
    [0x90000, 1, 0x40000010],
    [0x90002, 1, 0x40000000],
    [0x90003, 1, 0x40000002],
    [0x90004, 1, 0x40000020],
    [0x90013, 1, 0x40000073],
    [0x90017, 1, 0x40000021],
    [0x210, 6, 0x40000100],
    [0xa0000, 16, 0x40000090],
    [0xa0010, 5, 0x40000080],
    [0xb0000, 8, 0x400000b0],
  ]
  for (const [first, count, msr] of ranges) if (name >= first && name < first + count) return msr + name - first
  return undefined
}

export const leafOfRegister = (name: number): number | undefined =>
  name === 0x100 ? 0x40000002 : name >= 0x200 && name <= 0x202 ? 0x40000003 + name - 0x200 : undefined

const fail = (status: Status): CallAnswer => ({ status, done: 0 })

export function expectCall(model: Model, step: CallStep): CallAnswer {
  const { request, header, count, start, fast, body, extra } = step
  const allowed = (model.hypercall & 1n) !== 0n && step.privilege === 0 && step.protectedMode
  if (!allowed || step.instruction !== 'vmcall') return '#UD'
  if (!request) return fail('HV_STATUS_INVALID_HYPERCALL_CODE')
  if (request.always) return fail(request.always)
  if (request.feature && !model.features.has(request.feature)) return fail(request.without)
  if (extra & RESERVED) return fail('HV_STATUS_INVALID_HYPERCALL_INPUT')
  if (request.rep ? start >= count : count + start > 0) return fail('HV_STATUS_INVALID_HYPERCALL_INPUT')
  if (header > 0 && !request.variable) return fail('HV_STATUS_INVALID_HYPERCALL_INPUT')
  const inputs = request.input + 8 * header + (request.rep?.input ?? 0) * count
  const outputs = request.output + (request.rep?.output ?? 0) * count
  if (fast) {
    if (inputs > 112) return fail('HV_STATUS_INVALID_HYPERCALL_INPUT')
    if (outputs > 0 || (inputs > 16 && !model.features.has('xmm-input'))) return '#UD'
  } else if (!fits(step.input, inputs) || !fits(step.output, outputs)) return fail('HV_STATUS_INVALID_ALIGNMENT')
  return carryOut(model, step, request, new DataView(body.buffer, body.byteOffset, body.byteLength))
}

function fits(address: bigint, length: number): boolean {
  if (length === 0) return true
  const last = address + BigInt(length) - 1n
  return address % 8n === 0n && address / PAGE === last / PAGE && last < BigInt(MEMORY)
}

function carryOut(model: Model, step: CallStep, request: Hypercall, input: DataView): CallAnswer {
  const u64 = (offset: number) => input.getBigUint64(offset, true)
  // What an earlier call has done stays done.
  const answer = (status: Status, done = request.rep ? step.start : 0): CallAnswer => ({ status, done })
  switch (request.number) {
    case 0x02:
    case 0x03:
    case 0x13:
    case 0x14: {
      const list = request.rep !== undefined
      if (u64(8) & ~(list ? 3n : 7n) || (!(u64(8) & 2n) && u64(0) >> 39n)) return answer('HV_STATUS_INVALID_PARAMETER')
      const targets = u64(8) & 1n ? all() : request.variable ? set(input, 16, step.header) : mask(u64(16))
      if (typeof targets === 'string') return answer(targets)
      const pages = list ? readPages(input, request.input + 8 * step.header, step) : undefined
      // Address spaces of the mock's vCPUs are 0.
      const known = pages && u64(0) < PAGE ? pages : 'all'
      for (const vcpu of targets) model.log.push(`flush ${vcpu} ${known}`)
      return list ? answer('HV_STATUS_SUCCESS', step.count) : answer('HV_STATUS_SUCCESS')
    }
    case 0x08:
      model.log.push(`yield ${(step.vcpu + 1) % VCPUS}`)
      return answer('HV_STATUS_SUCCESS')
    case 0x0b:
    case 0x15: {
      const vector = input.getUint32(0, true)
      if (vector < 16 || vector > 255 || badLevel(input.getUint8(4))) return answer('HV_STATUS_INVALID_PARAMETER')
      const targets = request.variable ? set(input, 8, step.header) : mask(u64(8))
      if (typeof targets === 'string') return answer(targets)
      for (const vcpu of targets) model.log.push(`post ${vcpu} 0x${vector.toString(16)}`)
      return answer('HV_STATUS_SUCCESS')
    }
    case 0x50:
    case 0x51: {
      if (u64(0) !== SELF) return answer('HV_STATUS_ACCESS_DENIED')
      const level = input.getUint32(12, true)
      if (level > 255 || badLevel(level)) return answer('HV_STATUS_INVALID_PARAMETER')
      const index = input.getUint32(8, true)
      if (index >= VCPUS && index !== SELF_VP) return answer('HV_STATUS_INVALID_VP_INDEX')
      const vcpu = index === SELF_VP ? step.vcpu : index
      for (let i = step.start; i < step.count; i++) {
        const done =
          request.number === 0x50
            ? readable(model, vcpu, input.getUint32(16 + 4 * i, true))
            : written(model, vcpu, input, 16 + 32 * i)
        if (!done) return answer('HV_STATUS_INVALID_PARAMETER', i)
      }
      return answer('HV_STATUS_SUCCESS', step.count)
    }
    case 0x5c: {
      const type = input.getUint32(8, true)
      const bad = type === 0 || type >> 31 !== 0 || input.getUint32(12, true) > 240
      return answer(bad ? 'HV_STATUS_INVALID_PARAMETER' : 'HV_STATUS_INVALID_CONNECTION_ID')
    }
    case 0x5d:
      return answer('HV_STATUS_INVALID_CONNECTION_ID')
    case 0x8001:
      return answer('HV_STATUS_SUCCESS')
    default:
      throw new Error(`the model does not know ${request.name}`)
  }
}

const all = () => Array.from({ length: VCPUS }, (_, i) => i)
const mask = (bits: bigint, first = 0) => all().filter((i) => i >= first && (bits >> BigInt(i - first)) & 1n)
const badLevel = (level: number) => (level & 0xe0) !== 0 || (level & 0x1f) > 0x10

/** All vCPUs of the mock are in the first bank. */
function set(input: DataView, offset: number, banks: number): number[] | Status {
  const format = input.getBigUint64(offset, true)
  if (format > 1n) return 'HV_STATUS_INVALID_PARAMETER'
  if (format === 1n) return all()
  const valid = input.getBigUint64(offset + 8, true)
  if ([...valid.toString(2)].filter((digit) => digit === '1').length !== banks)
    return 'HV_STATUS_INVALID_HYPERCALL_INPUT'
  return valid & 1n ? mask(input.getBigUint64(offset + 16, true)) : []
}

/** As the mock writes them; undefined: so many that everything is forgotten. */
function readPages(input: DataView, offset: number, { start, count }: CallStep): string | undefined {
  const pages: bigint[] = []
  for (let i = start; i < count; i++) {
    const range = input.getBigUint64(offset + 8 * i, true)
    const length = (range & 0xfffn) + 1n
    if (BigInt(pages.length) + length > 128n) return undefined
    for (let page = 0n; page < length; page++) pages.push(BigInt.asUintN(64, (range & ~0xfffn) + page * PAGE))
  }
  return pages.map((page) => `0x${page.toString(16)}`).join(' ')
}

function readable(model: Model, vcpu: number, name: number): boolean {
  if (leafOfRegister(name)) return true
  const msr = msrOfRegister(name)
  return msr !== undefined && model.read(vcpu, msr) !== '#GP'
}

function written(model: Model, vcpu: number, input: DataView, at: number): boolean {
  const msr = msrOfRegister(input.getUint32(at, true))
  if (msr === undefined || input.getBigUint64(at + 24, true) !== 0n) return false
  return model.write(vcpu, msr, input.getBigUint64(at + 16, true)) === 'ok'
}
