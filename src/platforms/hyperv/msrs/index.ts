/** All of this platform's MSRs. */
import type { Msr } from '../../../paravirt/requests.ts'
import type { Partition } from '../partition.ts'
import { interruptMsrs } from './interrupts.ts'
import { partitionMsrs } from './partition.ts'
import { timeMsrs } from './time.ts'

export const msrs: readonly Msr<Partition>[] = [...partitionMsrs, ...timeMsrs, ...interruptMsrs]
