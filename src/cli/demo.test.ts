/** `paravirt demo`: its options, its table, its exit code. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { demo, type DemoOptions } from './demo.ts'

const defaults: DemoOptions = { bits: '64', cpus: '2', timeout: '60' }

/** What it writes. */
async function written(options: Partial<DemoOptions>): Promise<{ code: number; text: string }> {
  let text = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((piece) => {
    text += String(piece)
    return true
  })
  return { code: await demo({ ...defaults, ...options }), text }
}
afterEach(() => void vi.restoreAllMocks())

describe('bad options are refused before anything runs', () => {
  test.each<[string, Partial<DemoOptions>, string]>([
    ['bits', { bits: '16' }, "--bits '16' is neither 64 nor 32"],
    ['no CPU', { cpus: '0' }, "--cpus '0' is not a number from 1 to 8"],
    ['more CPUs than it has stacks', { cpus: '9' }, "--cpus '9' is not a number from 1 to 8"],
    ['an unknown platform', { platforms: 'native,hyperf' }, "unknown platform 'hyperf'; did you mean hyperv?"],
    ['time', { timeout: 'long' }, "--timeout 'long' is not a positive number of seconds"],
  ])('%s', async (_, options, message) => {
    await expect(demo({ ...defaults, ...options })).rejects.toThrow(message)
  })
})

test('a line for each platform, then a table of costs', async () => {
  const { code, text } = await written({ platforms: 'native,kvm' })
  expect(code).toBe(0)
  expect(text).toMatch(/^native {3}"bare hardware": 41 of 41 checks; call sites: \d+ instructions, \d+ nothing/m)
  expect(text).toMatch(/^kvm {6}"KVM": 41 of 41 checks/m)
  expect(text).toMatch(/│ operation +│ native +│ kvm +│/)
  expect(text).toMatch(/│ apic\.send_ipi +│ >\S+ +│ >\S+\* +│/)
})

test('as JSON', async () => {
  const { code, text } = await written({ platforms: 'hyperv', bits: '32', json: true })
  expect(code).toBe(0)
  const [run] = JSON.parse(text)
  expect(run).toMatchObject({ platform: 'hyperv', title: 'Hyper-V', passed: true })
  expect(run.checks).toHaveLength(41)
  expect(run.costs.find(({ op }: { op: string }) => op === 'irq.irq_disable')).toMatchObject({ how: 'inline' })
})

test('a run that does not end in time has failed', async () => {
  const { code, text } = await written({ platforms: 'native', timeout: '0.001' })
  expect(code).toBe(1)
  expect(text).toMatch(/it ended early: --timeout was reached/)
})
