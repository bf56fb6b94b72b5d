/** A report for tests: two platforms that are well, one that panics, one that cannot be entered. */
import { blankCell, REPORT_VERSION, type Cell, type Report } from './report.ts'

export function cellOf(platform: string, changes: Partial<Cell> = {}): Cell {
  return {
    ...blankCell({ kernel: 'vmlinux', platform }),
    version: '6.1.0-test',
    outcome: 'ok',
    verdict: 'good',
    instructions: 1_200_000_000,
    virtualNanoseconds: 2e9,
    seconds: 4.5,
    userSpace: { t: 1.5e9, instructions: 1_100_000_000 },
    ...changes,
  }
}

const request = (name: string, t: number) => ({ t, vcpu: 0, name, text: `${t / 1e9}  0  wrmsr ${name}(value=0x1)` })

export function exampleReport(): Report {
  return {
    paravirtMatrix: REPORT_VERSION,
    platforms: ['native', 'kvm', 'hyperv', 'xen'],
    kernels: ['vmlinux'],
    settings: { memory: 512 << 20, cpus: 1, timeout: 60_000 },
    cells: [
      cellOf('native', {
        messages: [{ level: 4, t: 1, text: 'ACPI: RSDP 0x00000000000E0000 at CPU 0' }],
        console: [{ t: 1, text: 'Linux version 6.1' }],
      }),
      cellOf('kvm', {
        messages: [
          { level: 4, t: 1, text: 'ACPI: RSDP 0x00000000000F0000 at CPU 1' },
          { level: 6, t: 2, text: 'kvm-clock: using' },
        ],
        requests: [{ kind: 'msr', name: 'MSR_KVM_SYSTEM_TIME_NEW', count: 3, groups: ['time'] }],
        lastRequests: [request('MSR_KVM_SYSTEM_TIME_NEW', 1e9)],
      }),
      cellOf('hyperv', {
        outcome: 'panic',
        verdict: 'bad',
        detail: 'Kernel panic - not syncing: <why> & "how" #1',
        backtrace: ['vCPU 0: panic+0x1', '  ? start_kernel+0x2'],
        userSpace: undefined,
        messages: [{ level: 2, t: 1, text: 'Kernel panic - not syncing: <why>' }],
        console: [{ t: 5e8, text: 'Kernel panic \u0007\u001b[0m]]>' }],
        lastRequests: [request('HV_X64_MSR_HYPERCALL', 5e8)],
        firstError: request('HV_X64_MSR_SCONTROL', 4e8),
        requests: [{ kind: 'msr', name: 'HV_X64_MSR_HYPERCALL', count: 2, groups: ['machine'] }],
        activity: { binNanoseconds: 1e8, counts: [0, 3, 7] },
      }),
      cellOf('xen', { outcome: 'cannot-enter', verdict: 'skip', detail: 'it has no PVH entry', userSpace: undefined }),
    ],
  }
}
