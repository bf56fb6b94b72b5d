/** The platforms that a machine can be run on. */
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { hyperv } from './hyperv/index.ts'
import { kvm } from './kvm/index.ts'
import { lguest } from './lguest/index.ts'
import { native } from './native/index.ts'
import { vmi } from './vmi/index.ts'
import { vmware } from './vmware/index.ts'
import { xenHvm, xenPv, xenPv32, xenPvh } from './xen/index.ts'

export const definitions = {
  native,
  kvm,
  vmware,
  hyperv,
  vmi,
  lguest,
  'xen-hvm': xenHvm,
  'xen-pvh': xenPvh,
  'xen-pv': xenPv,
  'xen-pv32': xenPv32,
} as const satisfies Readonly<Record<string, PlatformDefinition>>
export type PlatformName = keyof typeof definitions
/** Their names; the first is the default. */
export const platforms = Object.keys(definitions) as PlatformName[]
