/**
 * What the search for divergences leaves out, and why; docs/matrix.md has the same table (a test compares). Messages
 * are compared after `normalised`.
 */

export interface KnownMessage {
  readonly pattern: RegExp
  readonly why: string
}

/** Lines of level warning or worse that a healthy kernel prints on one platform and not on another. */
export const knownMessages: readonly KnownMessage[] = [
  {
    pattern: /^tsc: Marking TSC unstable due to running on Hyper-V$/,
    why: 'Hyper-V without an invariant TSC: Linux says that it takes the reference page instead',
  },
  { pattern: /^Grant table initialized$/, why: 'Xen: Linux prints it at level warning' },
  { pattern: /^ACPI: No IOAPIC entries present$/, why: 'Xen PVH: there is no I/O APIC' },
  { pattern: /^ACPI: setting ELCR to [\da-f]+ /, why: 'Xen PVH: there is no PIC either' },
  { pattern: /^PCI: (Fatal: No config space access|System does not support PCI)/, why: 'Xen PVH: there is no PCI bus' },
  { pattern: /^ACPI: MPS support code is not built-in/, why: 'Xen PV: there is no ACPI for a guest' },
  {
    pattern: /^Unknown kernel command line parameters/,
    why: 'words of the command line that are meant for init',
  },
]

export interface KnownError {
  readonly platform: string
  readonly request: string
  /** Only if the request, as the trace prints it, has this. */
  readonly text?: string
  readonly why: string
}

/** Errors that a healthy kernel asks for: it tries something, and goes another way if it is not there. */
export const knownErrors: readonly KnownError[] = [
  {
    platform: 'xen-hvm',
    request: 'HVMOP_pagetable_dying',
    why: 'Linux asks whether it is of use, and with nested paging it is not',
  },
  {
    platform: 'xen-pvh',
    request: 'HVMOP_pagetable_dying',
    why: 'Linux asks whether it is of use, and with nested paging it is not',
  },
  {
    platform: 'xen-pv',
    request: 'vm_assist',
    text: '4gb_segments',
    why: 'is for 32-bit guests; Linux asks for it whatever it is',
  },
  { platform: 'xen-pv', request: 'VCPUOP_is_up', why: 'Linux looks for vCPUs that there may be up to its own limit' },
  {
    platform: 'xen-pv',
    request: 'xenpmu_op',
    why: 'counters of the processor, which a host gives only if it is told to',
  },
  { platform: 'xen-pv', request: 'console_io', why: "the emergency console, which is the privileged domain's" },
  ...['xen-hvm', 'xen-pvh', 'xen-pv'].flatMap((platform) =>
    ['XS_READ', 'XS_DIRECTORY'].map((request) => ({
      platform,
      request,
      text: 'ENOENT',
      why: 'Linux looks whether a node is there',
    })),
  ),
]
