/** What a command of the backdoor is: it gets the registers and returns EAX; -1 is what unknown commands give. */
import type { Declaration } from '../../paravirt/requests.ts'
import type { FeatureName } from './features.ts'
import type { Frame, FrameRegister } from './frame.ts'
import type { Vmware } from './vmware.ts'

export const MAGIC = 0x564d5868
export const FAILED = 0xffffffff

export interface Command extends Declaration {
  /** ECX: the command in the low half; message channels have their type in the high one. */
  readonly kind: 'command'
  readonly feature?: FeatureName
  /** Where `args` are. */
  readonly inputs: readonly FrameRegister[]
  /** Only the kernel may ask. */
  readonly privileged?: boolean
  /** What observers are told; EAX by default. */
  readonly outcome?: (frame: Frame) => bigint | string
  readonly run: (vmware: Vmware, vcpu: number, frame: Frame) => number
}
