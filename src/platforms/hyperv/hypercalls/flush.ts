/** Translations of other vCPUs forgotten (TLFS, HvCallFlushVirtualAddressSpace and its kin). */
import { MAXPHYADDR } from '../../../cpu/layout.ts'
import type { Status } from '../status.ts'
import { type Call, hypercall } from './declare.ts'
import { everyone, fromMask, readSet } from './vp-set.ts'

const ALL_PROCESSORS = 1n
const ALL_SPACES = 2n
const NON_GLOBAL = 4n
const PAGE = 4096n
/** CR3: the top bit asks to keep translations, and is never part of an address space. */
const CR3_RESERVED = ~((1n << BigInt(MAXPHYADDR)) - 1n) & 0xffff_ffff_ffff_ffffn

/** With more pages than this, forgetting everything is cheaper. */
const MOST_PAGES = 128n

const flags = {
  kind: 'flags',
  bits: { HV_FLUSH_ALL_PROCESSORS: 0, HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES: 1, HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY: 2 },
} as const

const errors = {
  HV_STATUS_INVALID_PARAMETER: 'reserved flags; an address space with reserved bits of CR3; a set of unknown format',
}
const setErrors = { ...errors, HV_STATUS_INVALID_HYPERCALL_INPUT: 'not as many banks as the set says' }

const ops = ['mmu.flush_tlb_multi'] as const

/** The address space and the flags are as they must be. */
function valid({ input }: Call, allowed: bigint): boolean {
  const space = input.getBigUint64(0, true)
  const given = input.getBigUint64(8, true)
  return (given & ~allowed) === 0n && ((given & ALL_SPACES) !== 0n || (space & CR3_RESERVED) === 0n)
}

/** The masks that end the fixed part of the plain forms. */
function masked({ input, partition }: Call): number[] {
  const count = partition.effects.cpu.count
  return input.getBigUint64(8, true) & ALL_PROCESSORS ? everyone(count) : fromMask(input.getBigUint64(16, true), count)
}

function setted({ input, partition, header }: Call): number[] | Status {
  const count = partition.effects.cpu.count
  return input.getBigUint64(8, true) & ALL_PROCESSORS ? everyone(count) : readSet(input, 16, header, count)
}

function flushSpace(call: Call, targets: number[] | Status): Status {
  if (!valid(call, ALL_PROCESSORS | ALL_SPACES | NON_GLOBAL)) return 'HV_STATUS_INVALID_PARAMETER'
  if (typeof targets === 'string') return targets
  for (const vcpu of targets) call.partition.effects.mmu.flush(vcpu)
  return 'HV_STATUS_SUCCESS'
}

function flushList(call: Call, targets: number[] | Status, elements: number): Status {
  if (!valid(call, ALL_PROCESSORS | ALL_SPACES)) return 'HV_STATUS_INVALID_PARAMETER'
  if (typeof targets === 'string') return targets
  const pages = readPages(call, elements)
  for (const vcpu of targets) call.partition.effects.mmu.flush(vcpu, inSpace(call, vcpu) ? pages : undefined)
  call.done = call.count
  return 'HV_STATUS_SUCCESS'
}

/** The vCPU is in this address space now. Another one it may have left without forgetting its translations. */
function inSpace({ input, partition }: Call, vcpu: number): boolean {
  const space = input.getBigUint64(0, true)
  return (partition.effects.mmu.root(vcpu) & ~(PAGE - 1n)) === (space & ~(PAGE - 1n))
}

/** Addresses of the pages in the list; undefined: too many. Low bits of an element say how many pages follow. */
function readPages({ input, start, count }: Call, elements: number): bigint[] | undefined {
  const pages: bigint[] = []
  for (let i = start; i < count; i++) {
    const range = input.getBigUint64(elements + 8 * i, true)
    const more = range & (PAGE - 1n)
    if (BigInt(pages.length) + more >= MOST_PAGES) return undefined
    for (let page = 0n; page <= more; page++) pages.push(BigInt.asUintN(64, range - more + page * PAGE))
  }
  return pages
}

const SPACE = [
  ['AddressSpace', 8],
  ['Flags', 8, flags],
] as const
const MASK = ['ProcessorMask', 8] as const
const SET = [
  ['Format', 8],
  ['ValidBanksMask', 8],
] as const
const ELEMENT = { input: 8, output: 0 }

export const flushes = [
  hypercall({
    number: 0x0002,
    name: 'HvCallFlushVirtualAddressSpace',
    summary: 'forget the translations of an address space, on the vCPUs of a mask',
    fields: [...SPACE, MASK],
    errors,
    feature: 'tlb-flush',
    ops,
    section: 'HvCallFlushVirtualAddressSpace',
    run: (call) => flushSpace(call, masked(call)),
  }),
  hypercall({
    number: 0x0003,
    name: 'HvCallFlushVirtualAddressList',
    summary: 'forget the translations of ranges of pages, on the vCPUs of a mask',
    fields: [...SPACE, MASK],
    rep: ELEMENT,
    errors,
    feature: 'tlb-flush',
    ops,
    section: 'HvCallFlushVirtualAddressList',
    run: (call) => flushList(call, masked(call), 24),
  }),
  hypercall({
    number: 0x0013,
    name: 'HvCallFlushVirtualAddressSpaceEx',
    summary: 'forget the translations of an address space, on a set of vCPUs',
    fields: [...SPACE, ...SET],
    variable: true,
    errors: setErrors,
    feature: 'ex-masks',
    ops,
    section: 'HvCallFlushVirtualAddressSpaceEx',
    run: (call) => flushSpace(call, setted(call)),
  }),
  hypercall({
    number: 0x0014,
    name: 'HvCallFlushVirtualAddressListEx',
    summary: 'forget the translations of ranges of pages, on a set of vCPUs',
    fields: [...SPACE, ...SET],
    variable: true,
    rep: ELEMENT,
    errors: setErrors,
    feature: 'ex-masks',
    ops,
    section: 'HvCallFlushVirtualAddressListEx',
    run: (call) => flushList(call, setted(call), 32 + 8 * call.header),
  }),
]
