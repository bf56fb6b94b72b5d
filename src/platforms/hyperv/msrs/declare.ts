/** What this platform's tables of MSRs have in common. */
import { msrRow } from '../../../paravirt/msr.ts'
import type { ArgumentType } from '../../../paravirt/requests.ts'
import type { FeatureName } from '../features.ts'
import type { Partition } from '../partition.ts'

export const msr = msrRow<Partition, FeatureName>('TLFS')

/** A page's number with an enable bit. */
export const pageRegister: ArgumentType = {
  kind: 'fields',
  fields: [
    ['enable', 0, 1],
    ['page', 12, 52],
  ],
}
