/**
 * A short history of a kernel, of which one commit breaks guests of Hyper-V and nobody else: it registers the guest
 * after the hypercall page instead of before, and Hyper-V gives no page to a guest that it does not know (TLFS,
 * "Establishing the Hypercall Interface").
 */

export interface Commit {
  readonly message: string
  readonly file: string
  readonly edit: (text: string) => string
}

/** Throws if the text is not there: then it is another kernel than the one that this was made for. */
function replace(what: string, by: string): (text: string) => string {
  return (text) => {
    if (!text.includes(what)) throw new Error(`there is no ${JSON.stringify(what)}`)
    return text.replace(what, () => by)
  }
}

const registration =
  /\n\tguest_id = hv_generate_guest_id\(LINUX_VERSION_CODE\);\n\twrmsrl\(HV_X64_MSR_GUEST_OS_ID, guest_id\);\n/

export const BAD = 'x86/hyperv: register the guest once it has its hypercall page'

export const history: readonly Commit[] = [
  {
    message: 'init: tell of init in other words',
    file: 'init/main.c',
    edit: replace('Run %s as init process', 'Now run %s as init process'),
  },
  {
    message: 'x86/vmware: a word more about the TSC',
    file: 'arch/x86/kernel/cpu/vmware.c',
    edit: replace('TSC freq read from hypervisor', 'TSC frequency read from hypervisor'),
  },
  {
    message: 'x86/kvm: another word for the clock',
    file: 'arch/x86/kernel/kvmclock.c',
    edit: replace('kvm-clock: Using msrs', 'kvm-clock: Using MSRs'),
  },
  {
    message: BAD,
    file: 'arch/x86/hyperv/hv_init.c',
    edit: (text) => {
      const [lines] = registration.exec(text) ?? []
      const end = 'wrmsrl(HV_X64_MSR_HYPERCALL, hypercall_msr.as_uint64);\n\t}\n'
      if (lines === undefined || text.split(end).length < 2) throw new Error('hyperv_init is not as expected')
      const without = text.replace(lines, '\n\tguest_id = hv_generate_guest_id(LINUX_VERSION_CODE);\n')
      const at = without.indexOf(end, without.indexOf('hyperv_init(void)')) + end.length
      return `${without.slice(0, at)}\twrmsrl(HV_X64_MSR_GUEST_OS_ID, guest_id);\n${without.slice(at)}`
    },
  },
  {
    message: 'x86/vmware: and one about the bus',
    file: 'arch/x86/kernel/cpu/vmware.c',
    edit: replace('Host bus clock speed read from hypervisor', 'Bus clock speed read from hypervisor'),
  },
  {
    message: 'init: no comma',
    file: 'init/main.c',
    edit: replace('Now run %s as init process', 'Run %s as the init process'),
  },
]
