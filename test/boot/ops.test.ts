/** `paravirt ops` on stock kernels: what they put into pv_ops for whom, and how they patch themselves. */
import { expect, test } from 'vitest'
import type { OpRow } from '../../src/pvops/compare.ts'
import { command } from './guest.ts'

const kernels = ['linux-image-cloud-amd64', 'linux-image-6.12-amd64']

test.each(kernels)('%s', async (kernel) => {
  const { code, stdout } = await command(['ops', kernel, '--platforms', 'native,hyperv', '--json'])
  expect(code).toBe(0)
  const rows = JSON.parse(stdout) as OpRow[]
  const cell = (op: string, platform: string) =>
    rows.find((row) => row.op === op)?.platforms.find((each) => each.platform === platform)
  // Nearly all of them; some have left and some have come over time.
  expect(rows.length).toBeGreaterThan(75)
  expect(cell('mmu.write_cr3', 'native')).toMatchObject({
    function: 'native_write_cr3',
    sites: expect.stringMatching(/^\d+ × inline mov cr3,rdi$/),
    arrived: 'unseen',
  })
  expect(cell('irq.irq_disable', 'hyperv')!.sites).toMatch(/^\d{2,} × inline cli$/)
  expect(cell('cpu.write_msr', 'native')!.sites).toMatch(/^\d{2,} × direct call/)
  expect(cell('mmu.flush_tlb_multi', 'native')!.function).toBe('native_flush_tlb_multi')
  expect(cell('mmu.flush_tlb_multi', 'hyperv')).toMatchObject({
    function: 'hyperv_flush_tlb_multi',
    arrived: expect.stringMatching(/\d+ by (msr|hypercall)/),
  })
  expect(cell('lock.kick', 'hyperv')!.function).toBe('hv_qlock_kick')
  expect(cell('lock.queued_spin_unlock', 'native')!.sites).toMatch(/inline mov BYTE PTR \[rdi\],0x0/)
  expect(cell('time.sched_clock', 'hyperv')!.function).toMatch(/hv.*sched_clock/)
})

test('a PV guest of Xen replaces what is privileged', async () => {
  const { code, stdout } = await command(['ops', '--platforms', 'native,xen-pv', '--json'])
  expect(code).toBe(0)
  const rows = JSON.parse(stdout) as OpRow[]
  const cells = (op: string) => rows.find((row) => row.op === op)!.platforms
  expect(cells('mmu.write_cr3')).toEqual([
    {
      platform: 'native',
      function: 'native_write_cr3',
      sites: expect.stringMatching(/inline mov cr3,rdi$/),
      arrived: 'unseen',
    },
    {
      platform: 'xen-pv',
      function: 'xen_write_cr3',
      sites: expect.stringMatching(/^\d+ × direct call$/),
      arrived: expect.stringMatching(/^\d{3,} by hypercall$/),
    },
  ])
  expect(cells('irq.irq_disable')[1]).toMatchObject({ function: 'xen_irq_disable_direct', arrived: 'unseen' })
  expect(cells('mmu.set_pte')[1]).toMatchObject({ function: 'xen_set_pte' })
})
