/** The operations of a kernel on several platforms, side by side. */
import type { OpsReading } from './reading.ts'

export interface OpRow {
  /** `mmu.write_cr3`; by its place in the table if nothing gives it a name. */
  readonly op: string
  readonly platforms: readonly OpCell[]
}

export interface OpCell {
  readonly platform: string
  readonly function: string
  /** `12 × mov cr3,rdi`. */
  readonly sites: string
  /** `345 by hypercall`, or `unseen`. */
  readonly arrived: string
}

/** In the order of the tables. */
export function compareOps(readings: readonly (readonly [platform: string, reading: OpsReading])[]): OpRow[] {
  const keys = new Map<string, { table: string; offset: number }>()
  for (const [, { slots }] of readings)
    for (const { table, offset, name } of slots) keys.set(keyOf(table, offset, name), { table, offset })
  return [...keys.keys()].map((key) => {
    const found = readings.flatMap(([platform, reading]) => {
      const slot = reading.slots.find(({ table, offset, name }) => keyOf(table, offset, name) === key)
      return slot ? [{ platform, reading, slot }] : []
    })
    const slots = found.map(({ slot }) => slot)
    const op = nameOf(slots)
    return {
      op,
      platforms: found.map(({ platform, reading, slot }) => ({
        platform,
        function: plainest(slot.functions, op),
        sites: slot.sites.map(({ what, count }) => `${count} × ${what}`).join(', '),
        arrived: arrivedText(reading, op),
      })),
    }
  })
}

const keyOf = (table: string, offset: number, name: string | undefined) => `${table} ${offset} ${name ?? ''}`

const PREFIX = /^(__raw_callee_save_)?_*(native|xen|kvm|vmi|lguest|hv|hyperv|vmware|paravirt|pv|default)_+/
/** They serve any operation. */
const GENERIC = /^_*(paravirt_(nop|ident|BUG|ret0)|x86_op_int_noop)/

/** By the kernel's type information, or by the functions that platforms put there: native_write_cr3, xen_write_cr3. */
function nameOf(slots: OpsReading['slots']): string {
  const [{ name, group, table, offset }] = slots as [OpsReading['slots'][number]]
  if (name !== undefined) return name
  const known = slots.flatMap(({ functions }) => functions).find((each) => PREFIX.test(each) && !GENERIC.test(each))
  const own = known?.replace(PREFIX, '') ?? `${table}+0x${offset.toString(16)}`
  return group === '' ? own : `${group}.${own}`
}

/** An address may have several names: the one with the operation's, or else the shortest. */
function plainest(functions: readonly string[], op: string): string {
  const own = op.slice(op.lastIndexOf('.') + 1)
  const [first = '?'] = functions.toSorted(
    (a, b) => Number(b.includes(own)) - Number(a.includes(own)) || a.length - b.length,
  )
  return first
}

/** What the request's declaration calls it, where the table has variants. */
const same: Readonly<Record<string, string>> = {
  'cpu.read_msr_safe': 'cpu.read_msr',
  'cpu.write_msr_safe': 'cpu.write_msr',
}

function arrivedText({ arrived, counted }: OpsReading, op: string): string {
  const wanted = same[op] ?? op
  // Tables without groups (2.6.20) name no group.
  const key = wanted.includes('.') ? wanted : Object.keys(arrived).find((each) => each.endsWith(`.${wanted}`))
  const ways = (key === undefined ? undefined : arrived[key]) ?? []
  if (ways.length === 0) return counted ? '0' : 'unseen'
  return ways.map(({ what, count }) => `${count} by ${what}`).join(', ')
}
