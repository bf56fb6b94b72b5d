/** The backdoor's commands (open-vm-tools, lib/include/backdoor_def.h), all but the message channels'. */
import type { Argument } from '../../paravirt/requests.ts'
import { byNumber } from '../../paravirt/requests.ts'
import { type Command, FAILED, MAGIC } from './command.ts'
import type { Frame } from './frame.ts'
import { messageCommands } from './message-commands.ts'
import type { Vmware } from './vmware.ts'

const common = {
  kind: 'command',
  args: [],
  inputs: [],
  errors: {},
  tier: 'call',
  source: 'open-vm-tools lib/include/backdoor_def.h',
} as const

const VERSION = 6
/** Product: VMX_TYPE_SCALABLE_SERVER. */
const PRODUCT = 2
const HARDWARE_VERSION = 19
/** How far a guest's clock may be off before its tools set it, in microseconds. */
const MAX_LAG = 1_000_000
/** Bits of GET_VCPU_INFO. */
const SYNC_VTSCS = 1 << 1
const LEGACY_X2APIC_OK = 1 << 3

const argument = (name: string): Argument => ({ name, type: { kind: 'u32' } })

function wallClock({ effects }: Vmware): { seconds: bigint; microseconds: number } {
  const microseconds = effects.time.wallClock() / 1000n
  return { seconds: microseconds / 1_000_000n, microseconds: Number(microseconds % 1_000_000n) }
}

/** GETTIMEFULL and its successor: EAX stays. */
function fullTime(vmware: Vmware, frame: Frame): number {
  const { seconds, microseconds } = wallClock(vmware)
  frame.ebx = microseconds
  frame.ecx = MAX_LAG
  frame.edx = Number(BigInt.asUintN(32, seconds))
  frame.esi = Number(BigInt.asUintN(32, seconds >> 32n))
  return frame.eax
}

export const commands: readonly Command[] = [
  {
    ...common,
    number: 1,
    name: 'BDOOR_CMD_GETMHZ',
    summary: 'MHz of the processor',
    ops: ['time.get_tsc_khz'],
    run: ({ effects }) => effects.time.tscHz / 1e6,
  },
  {
    ...common,
    number: 10,
    name: 'BDOOR_CMD_GETVERSION',
    summary: 'version of the interface, the magic number in EBX, product in ECX',
    ops: ['machine.detect'],
    run: (_vmware, _vcpu, frame) => {
      frame.ebx = MAGIC
      frame.ecx = PRODUCT
      return VERSION
    },
  },
  {
    ...common,
    number: 17,
    name: 'BDOOR_CMD_GETHWVERSION',
    summary: 'version of the virtual hardware',
    ops: ['machine.detect'],
    run: () => HARDWARE_VERSION,
  },
  {
    ...common,
    number: 20,
    name: 'BDOOR_CMD_GETMEMSIZE',
    summary: 'MiB of memory',
    ops: ['machine.detect'],
    run: ({ effects }) => effects.memory.pages >>> 8,
  },
  {
    ...common,
    number: 23,
    name: 'BDOOR_CMD_GETTIME',
    summary: 'time of day: seconds, microseconds in EBX, lag allowed in ECX, minutes west of Greenwich in EDX',
    ops: ['time.get_wallclock'],
    run: (vmware, _vcpu, frame) => {
      const { seconds, microseconds } = wallClock(vmware)
      frame.ebx = microseconds
      frame.ecx = MAX_LAG
      frame.edx = 0
      return Number(BigInt.asUintN(32, seconds))
    },
  },
  {
    ...common,
    number: 45,
    name: 'BDOOR_CMD_GETHZ',
    summary: 'Hz of the TSC in EBX:EAX, of the local APICs’ bus in ECX',
    ops: ['time.get_tsc_khz'],
    run: ({ effects: { time } }, _vcpu, frame) => {
      frame.ebx = Math.floor(time.tscHz / 2 ** 32)
      frame.ecx = time.apicHz
      return time.tscHz >>> 0
    },
  },
  {
    ...common,
    number: 46,
    name: 'BDOOR_CMD_GETTIMEFULL',
    summary: 'time of day: seconds in ESI:EDX, microseconds in EBX, lag allowed in ECX',
    ops: ['time.get_wallclock'],
    run: (vmware, _vcpu, frame) => fullTime(vmware, frame),
  },
  {
    ...common,
    number: 55,
    name: 'BDOOR_CMD_GETTIMEFULL_WITH_LAG',
    summary: 'the same, and in EDI by how many microseconds interrupts are late: none',
    ops: ['time.get_wallclock'],
    run: (vmware, _vcpu, frame) => {
      frame.edi = 0
      return fullTime(vmware, frame)
    },
  },
  {
    ...common,
    number: 68,
    name: 'BDOOR_CMD_GET_VCPU_INFO',
    summary: 'TSCs agree; x2APIC is allowed without remapping of interrupts',
    errors: { '-1': 'the feature is off' },
    feature: 'vcpu-info',
    ops: ['apic.startup'],
    run: () => SYNC_VTSCS | LEGACY_X2APIC_OK,
  },
  {
    ...common,
    number: 91,
    name: 'BDOOR_CMD_STEALCLOCK',
    summary: 'where the vCPU’s steal clock is, or 1 for none: 1 enabled, 0 disabled',
    args: [
      argument('zero'),
      { name: 'address_high', type: { kind: 'u32' } },
      { name: 'address', type: { kind: 'gpa', length: 64, align: 64 } },
    ],
    inputs: ['ebx', 'esi', 'edi'],
    errors: { '-1': 'from user mode, unaligned, no RAM, or the feature is off' },
    privileged: true,
    feature: 'steal-clock',
    ops: ['time.steal_clock'],
    run: (vmware, vcpu, { ebx, esi, edi }) => {
      const address = (BigInt(esi) << 32n) | BigInt(edi)
      if (ebx !== 0) return FAILED
      if (address === 1n) {
        vmware.steal(vcpu).disable()
        return 0
      }
      return vmware.steal(vcpu).enable(address) ? 1 : FAILED
    },
  },
  ...messageCommands,
]

const byEcx = byNumber(commands)
const MESSAGE = 30

/** The high half of ECX belongs to the command only where it is a message's type. */
export function findCommand(ecx: number): Command | undefined {
  const command = ecx & 0xffff
  return byEcx.get(command === MESSAGE ? ecx : command)
}
