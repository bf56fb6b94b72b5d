/**
 * Messages and events to other partitions (TLFS, "Inter-Partition Communication"), and the extended interface. The
 * guest has both privileges, as any child partition has; there is nobody to be connected to until there is a VMBus.
 */
import { hypercall } from './declare.ts'

const PAYLOAD = 240
const HYPERVISOR_TYPE = 0x80000000

const connection = {
  HV_STATUS_INVALID_CONNECTION_ID: 'always: no connection exists',
  HV_STATUS_ACCESS_DENIED: 'without messages',
}

export const messages = [
  hypercall({
    number: 0x005c,
    name: 'HvCallPostMessage',
    summary: 'queue a message of up to 240 bytes for a connection',
    fields: [
      ['ConnectionId', 4],
      ['Reserved', 4],
      ['MessageType', 4],
      ['PayloadSize', 4],
    ],
    input: 16 + PAYLOAD,
    errors: {
      HV_STATUS_INVALID_PARAMETER: "a type of 0 or with the hypervisor's bit; more than 240 bytes",
      ...connection,
    },
    feature: 'messages',
    without: 'HV_STATUS_ACCESS_DENIED',
    ops: ['machine.message'],
    section: 'HvCallPostMessage',
    run: ({ input }) => {
      const type = input.getUint32(8, true)
      if (type === 0 || type >= HYPERVISOR_TYPE || input.getUint32(12, true) > PAYLOAD)
        return 'HV_STATUS_INVALID_PARAMETER'
      return 'HV_STATUS_INVALID_CONNECTION_ID'
    },
  }),
  hypercall({
    number: 0x005d,
    name: 'HvCallSignalEvent',
    summary: 'set an event flag of a connection',
    fields: [
      ['ConnectionId', 4],
      ['FlagNumber', 2],
      ['Reserved', 2],
    ],
    errors: connection,
    feature: 'messages',
    without: 'HV_STATUS_ACCESS_DENIED',
    ops: ['machine.message'],
    section: 'HvCallSignalEvent',
    run: () => 'HV_STATUS_INVALID_CONNECTION_ID',
  }),
  hypercall({
    number: 0x8001,
    name: 'HvExtCallQueryCapabilities',
    summary: 'which extended calls there are: none',
    fields: [],
    output: 8,
    errors: { HV_STATUS_ACCESS_DENIED: 'without extended-hypercalls' },
    feature: 'extended-hypercalls',
    without: 'HV_STATUS_ACCESS_DENIED',
    ops: ['machine.detect'],
    section: 'HvExtCallQueryCapabilities',
    run: () => 'HV_STATUS_SUCCESS',
  }),
]
