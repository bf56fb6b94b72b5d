/** The project's own kernel: everywhere the same checks pass, and each platform's backend is what does the work. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Bits, pvopsImage } from '../src/demo/image.ts'
import { demoPlatforms, runPvops } from '../src/demo/run.ts'
import { definitions, type PlatformName } from '../src/platforms/index.ts'

const images = new Map<Bits, Uint8Array>()
const image = (bits: Bits) => images.get(bits) as Uint8Array
beforeAll(async () => {
  for (const bits of [64, 32] as const) images.set(bits, await pvopsImage(bits))
})

const run = (platform: PlatformName, bits: Bits, more = {}) =>
  runPvops({
    image: image(bits),
    bits,
    platform,
    cpus: 2,
    deterministic: true,
    signal: AbortSignal.timeout(60_000),
    ...more,
  })

describe.each([64, 32] as const)('%i bits', (bits) => {
  test.each(demoPlatforms(bits))('%s: every check passes, whichever engine runs it', async (platform) => {
    for (const translate of [false, 'eager'] as const) {
      const { checks, passed, trouble, console } = await run(platform, bits, { translate })
      expect(
        checks.filter((check) => !check.passed),
        console,
      ).toEqual([])
      expect(trouble, console).toBeUndefined()
      expect(passed).toBe(true)
      // lguest: one CPU, and no SYSENTER.
      expect(checks.length).toBe(platform === 'lguest' ? 34 : 41)
    }
  })

  test('with one CPU, and with four', async () => {
    expect(await run('native', bits, { cpus: 1 })).toMatchObject({ passed: true })
    expect(await run('kvm', bits, { cpus: 4 })).toMatchObject({ passed: true })
    const last = bits === 64 ? 'xen-pv' : 'xen-pv32'
    expect(await run(last, bits, { cpus: 4 })).toMatchObject({ passed: true })
  })
})

/** Requests that its backend makes, and operations that it does its own way. */
const own = {
  kvm: {
    requests:
      'MSR_KVM_SYSTEM_TIME_NEW MSR_KVM_WALL_CLOCK_NEW MSR_KVM_STEAL_TIME MSR_KVM_PV_EOI_EN ' +
      'KVM_HC_SEND_IPI KVM_HC_KICK_CPU KVM_VCPU_FLUSH_TLB KVM_PV_EOI_ENABLED',
    ops: 'cpu.io_delay time.sched_clock time.steal_clock apic.eoi apic.send_ipi lock.kick',
  },
  vmware: { requests: 'BDOOR_CMD_GETHZ BDOOR_CMD_STEALCLOCK', ops: 'cpu.io_delay time.steal_clock' },
  hyperv: {
    requests:
      'HV_X64_MSR_REFERENCE_TSC HV_X64_MSR_VP_ASSIST_PAGE HV_X64_MSR_STIMER0_CONFIG HV_X64_MSR_STIMER0_COUNT ' +
      'HV_X64_MSR_EOI HV_X64_MSR_TSC_FREQUENCY HV_X64_MSR_GUEST_IDLE HvCallSendSyntheticClusterIpi ' +
      'HvCallFlushVirtualAddressList',
    ops: 'time.sched_clock time.set_next_event apic.eoi apic.send_ipi mmu.flush_tlb_others lock.kick',
  },
  'xen-pvh': {
    requests:
      'XEN_HYPERCALL_MSR XENMEM_add_to_physmap HVMOP_get_param HVMOP_set_param EVTCHNOP_bind_virq EVTCHNOP_bind_ipi ' +
      'EVTCHNOP_send VCPUOP_register_runstate_memory_area VCPUOP_set_singleshot_timer SCHEDOP_poll SCHEDOP_shutdown',
    ops: 'cpu.io_delay time.sched_clock time.steal_clock time.set_next_event time.get_wallclock lock.kick',
  },
  'xen-pv': {
    requests:
      'set_trap_table mmu_update mmuext_op set_gdt stack_switch set_callbacks update_va_mapping XENVER_version iret ' +
      'VCPUOP_initialise VCPUOP_up VCPUOP_stop_periodic_timer SCHEDOP_block SCHEDOP_poll EVTCHNOP_bind_ipi EVTCHNOP_send',
    ops: 'irq.save_fl irq.irq_disable irq.restore_fl mmu.read_cr2 mmu.set_pte mmu.alloc_pte mmu.flush_tlb_single apic.eoi',
  },
  'xen-pv32': {
    requests:
      'set_trap_table mmu_update mmuext_op set_gdt stack_switch set_callbacks CALLBACKOP_register update_va_mapping ' +
      'XENVER_version iret VCPUOP_initialise VCPUOP_up VCPUOP_stop_periodic_timer SCHEDOP_block SCHEDOP_poll ' +
      'EVTCHNOP_bind_ipi EVTCHNOP_send',
    ops: 'irq.save_fl irq.irq_disable irq.restore_fl mmu.read_cr2 mmu.set_pte mmu.alloc_pte mmu.flush_tlb_single apic.eoi',
  },
} as const satisfies Partial<Record<PlatformName, { requests: string; ops: string }>>

/** Platforms for 32-bit kernels only. */
const narrow = new Set<PlatformName>(['xen-pv32'])

describe.each(Object.entries(own))('%s', (platform, { requests, ops }) => {
  const name = platform as keyof typeof own

  test('is asked for what it offers', async () => {
    const { machine, costs, title } = await run(name, narrow.has(name) ? 32 : 64)
    expect(title).not.toBe('bare hardware')
    const asked = new Set([...machine.requests.counts.keys()].map((request) => request.name))
    expect(requests.split(' ').filter((request) => !asked.has(request))).toEqual([])
    for (const op of ops.split(' ')) expect([op, costs.find((cost) => cost.op === op)?.whose]).toEqual([op, title])
  })

  // Without Xen a guest of Xen has no console.
  test.skipIf(name.startsWith('xen'))('is not needed: without its features all is as on bare hardware', async () => {
    const features = Object.keys(definitions[name].features).map((feature) => `no-${feature}`)
    const { machine, passed, console } = await run(name, 64, { features })
    expect(passed, console).toBe(true)
    const asked = new Set([...machine.requests.counts.keys()].map((request) => request.name))
    expect(
      [...asked].filter(
        (request) => /_HC_|HvCall|STEAL|GUEST_IDLE|_EOI/.test(request) && request !== 'BDOOR_CMD_STEALCLOCK',
      ),
    ).toEqual([])
  })
})

test('VMI: everything goes through the ROM, where the same kernel is native without it', async () => {
  const { machine, costs, title, passed, sites } = await run('vmi', 32, { features: ['counting'] })
  expect([title, passed]).toEqual(['vmi', true])
  const asked = [...machine.requests.counts.keys()].map(({ name }) => name)
  const wanted =
    'SetGDT SetIDT SetTR WriteGDTEntry WriteIDTEntry UpdateKernelStack SetCR0 SetCR3 GetCR0 GetCR2 GetCR3 GetCR4 CLTS ' +
    'RDTSC EnableInterrupts DisableInterrupts GetInterruptMask SetInterruptMask IRET SYSEXIT Halt SetPxELong ' +
    'AllocatePage ReleasePage InvalPage FlushTLB SetLinearMapping SetInitialAPState APICWrite GetCycleFrequency ' +
    'GetCycleCounter SetAlarm GetWallclockTime SetLazyMode CPUID'
  expect(wanted.split(' ').filter((name) => !asked.includes(`VMI_CALL_${name}`))).toEqual([])
  expect(costs.find(({ op }) => op === 'irq.irq_disable')).toMatchObject({ whose: 'vmi', how: 'call' })
  expect(sites?.[2]).toBeGreaterThan(200)
})

test('lguest: the kernel asks from ring 1, some of it through the ring', async () => {
  const { machine, costs, title, passed, sites } = await run('lguest', 32)
  expect([title, passed]).toEqual(['lguest', true])
  const asked = [...machine.requests.counts.keys()].map(({ name }) => name)
  const wanted =
    'LGUEST_INIT SHUTDOWN NEW_PGTABLE FLUSH_TLB LOAD_IDT_ENTRY LOAD_GDT_ENTRY SET_STACK TS SET_CLOCKEVENT HALT SET_PMD ' +
    'SET_PTE NOTIFY FLUSH_ASYNC SEND_INTERRUPTS'
  expect(wanted.split(' ').filter((name) => !asked.includes(`LHCALL_${name}`))).toEqual([])
  expect(costs.find(({ op }) => op === 'irq.irq_disable')).toMatchObject({ whose: 'lguest', how: 'call' })
  expect(sites?.[1]).toBeGreaterThan(20)
})

test.each(['native', 'kvm'] as const)('what docs/pvops.md shows of %s is so', async (platform) => {
  const { checks, title, sites } = await run(platform, 64)
  const [inline, nothing, call] = sites ?? []
  const patched = `call sites: ${inline} instructions, ${nothing} nothing, ${call} direct calls`
  const docs = readFileSync(join(import.meta.dirname, '../docs/pvops.md'), 'utf8')
  expect(docs).toContain(`${platform.padEnd(9)}"${title}": ${checks.length} of ${checks.length} checks; ${patched}`)
})

test('on bare hardware an operation is its instruction, or nothing, or a direct call', async () => {
  const { costs, sites } = await run('native', 64)
  const how = Object.fromEntries(costs.map(({ op, how: patched }) => [op, patched]))
  expect(how).toMatchObject({
    'irq.irq_disable': 'inline',
    'mmu.write_cr3': 'inline',
    'mmu.set_pte': 'inline',
    'mmu.pte_val': 'nothing',
    'mmu.enter_lazy_mode': 'nothing',
    'time.sched_clock': 'call',
  })
  expect(sites?.every((count) => count > 5)).toBe(true)
  // Deterministic time is instructions: CLI and padding instead of CALL, CLI, RET.
  expect(costs.find(({ op }) => op === 'irq.irq_disable')).toMatchObject({ before: 3, after: 2 })
})
