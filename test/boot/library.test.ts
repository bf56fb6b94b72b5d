/** The library against whole guests: what docs/library.md promises, on each platform. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CpuidCall, Machine, platforms, type PlatformName } from '../../src/index.ts'

/** Those that a 64-bit kernel can be entered on. */
const narrow = new Set<PlatformName>(['xen-pv32', 'lguest'])
const all: PlatformName[] = platforms.filter((platform) => !narrow.has(platform))

describe.each(all)('%s', (on) => {
  let machine: Machine
  beforeAll(async () => {
    machine = await Machine.boot({ on, memory: '256M', files: { '/etc/greeting': 'hello\n' } })
    await machine.console.waitFor('~ # ')
  })
  afterAll(() => machine.stop())

  test('exec: outputs, exit code, input, several at once, the shell beside them', async () => {
    const [both, input, killed, none] = await Promise.all([
      machine.exec('cat /etc/greeting; echo no >&2; exit 3'),
      machine.exec('wc -c; sleep 1', { stdin: new Uint8Array(100_000) }),
      machine.exec('kill -9 $$'),
      machine.exec('true'),
    ])
    expect(both).toEqual({ stdout: 'hello\n', stderr: 'no\n', exitCode: 3 })
    expect(input).toEqual({ stdout: '100000\n', stderr: '', exitCode: 0 })
    expect(killed.exitCode).toBe(137)
    expect(none).toEqual({ stdout: '', stderr: '', exitCode: 0 })
    machine.console.write('echo $((6 * 7))\n')
    await machine.console.waitFor(/^42\r$/m)
  })

  test('files are the same on their way back', async () => {
    const bytes = new Uint8Array(150_000).map((_, i) => (i * 7919) >> 4)
    await machine.writeFile("/tmp/a folder/it's", bytes, { mode: 0o640 })
    expect((await machine.exec("stat -c '%a %s' '/tmp/a folder/it'\\''s'")).stdout).toBe('640 150000\n')
    expect(Buffer.compare(await machine.readFile("/tmp/a folder/it's"), bytes)).toBe(0)
    await expect(machine.readFile('/nowhere')).rejects.toThrow("can't open '/nowhere'")
  })

  test('a snapshot is restored, several times, while the machine goes on', async () => {
    await machine.writeFile('/tmp/state', 'before')
    const snapshot = Buffer.concat(await Array.fromAsync(machine.snapshot()))
    await machine.writeFile('/tmp/state', 'after')
    await using one = await Machine.restore(snapshot)
    await using two = await Machine.restore(new Blob([snapshot]))
    await one.writeFile('/tmp/state', 'one')
    const states = await Promise.all([machine, one, two].map((each) => each.readFile('/tmp/state')))
    expect(states.map((state) => new TextDecoder().decode(state))).toEqual(['after', 'one', 'before'])
    one.console.write('echo restored $((1 + 1))\n')
    await one.console.waitFor('restored 2')
  })
})

test('hooks, events, pause and the end', async () => {
  const machine = await Machine.boot({ on: 'kvm', memory: '128M', paused: true, append: 'quiet' })
  // A hypervisor that lies about its features.
  machine.hook('KVM_CPUID_FEATURES', (call: CpuidCall) => {
    const [, ebx, ecx, edx] = call.proceed()
    return [0, ebx, ecx, edx] as const
  })
  const requests = new Set<string>()
  const stop = machine.on('request', ({ request }) => requests.add(request.name))
  expect(machine.stats().instructions).toBe(0)
  machine.resume()
  const { stdout } = await machine.exec('cat /sys/devices/system/clocksource/*/available_clocksource')
  expect(stdout).not.toContain('kvm-clock')
  stop()
  expect([...requests]).toContain('KVM_CPUID_FEATURES')
  await machine.pause()
  const { instructions } = machine.stats()
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(machine.stats().instructions).toBe(instructions)
  machine.resume()
  const panic = machine.once('panic')
  machine.console.write('echo c > /proc/sysrq-trigger\n')
  expect((await panic).message).toBe('Kernel panic - not syncing: sysrq triggered crash')
  expect((await machine.exited).kind).toBe('reset')
  await expect(machine.exec('true')).rejects.toThrow('the machine has stopped: reset')
})
