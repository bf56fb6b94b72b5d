/** The real GDB in the hot loop of a test kernel, which is translated by then; with 64 and with 32 bits. */
import { spawnSync } from 'node:child_process'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { loadKernel } from '../src/boot/kernel.ts'
import { GdbServer, parseGdbAddress } from '../src/gdb/server.ts'
import { Machine } from '../src/machine/machine.ts'
import { gdb } from './gdb/client.ts'
import { buildGuest } from './guests/build.ts'

const word = (name: string) => `*(unsigned*)&${name}`
const numbers = (text: string) => [...text.matchAll(/value = (\d+)/g)].map(([, value]) => Number(value))

describe.runIf(spawnSync('gcc', ['--version']).status === 0)('hot loops', () => {
  test.for([64, 32] as const)('%i bits', { timeout: 250_000 }, async (bits) => {
    const file = buildGuest('gdb/loop', bits)
    const kernel = await loadKernel(file, 'loop')
    let text = ''
    const machine = await Machine.create({
      memory: 16 << 20,
      cpu: 'inorder',
      platform: 'native',
      serial: { com1: (bytes) => void (text += Buffer.from(bytes).toString('latin1')) },
      boot: { kernel, cmdline: '' },
    })
    const ended = machine.run(AbortSignal.timeout(200_000))
    using server = await GdbServer.listen(parseGdbAddress(':0'), {
      machine,
      bits: kernel.bits,
      onKill: () => {},
      requests: () => [],
    })
    while (!machine.stats().translation?.regions) await setTimeout(20)
    const [ip, a] = bits === 64 ? ['$rip', '$rax'] : ['$eip', '$eax']
    const printed = await gdb({
      port: server.port,
      file,
      commands: [
        'break twice',
        'continue',
        'continue',
        `print ${ip} == (unsigned long)&twice`,
        'delete',
        `watch ${word('counter')}`,
        'continue',
        'continue',
        'delete',
        // A byte among others that the same loop stores.
        'watch *((char*)&bytes + 3)',
        'continue',
        'delete',
        `rwatch ${word('sum')}`,
        'continue',
        'delete',
        'break twice',
        'continue',
        'finish',
        'delete',
        `set ${a} = 7`,
        `print ${a}`,
        'print $cs + ($eflags & 2)',
        'print/x $cr0 & 0x11',
        `print sizeof($sp) + sizeof(${ip})`,
        'stepi 4',
        'set var *(int*)&ended = 1',
        'detach',
      ],
    })
    expect([printed[1], printed[2]]).toEqual([
      expect.stringContaining('Breakpoint 1, '),
      expect.stringContaining('Breakpoint 1, '),
    ])
    expect(printed[3]).toBe('$1 = 1')
    const [first, second] = [numbers(printed[6]!), numbers(printed[7]!)]
    expect([first[1], second[0], second[1]]).toEqual([first[0]! + 1, first[0]! + 1, first[0]! + 2])
    expect(printed[10]).toMatch(/Hardware watchpoint 3: [^]*New value = [^]* in work/)
    expect(printed[13]).toMatch(/Hardware read watchpoint 4: [^]*Value = \d+/)
    expect(printed[17]).toMatch(/ in work/)
    expect([printed[20], printed[21], printed[22]]).toEqual(['$2 = 7', '$3 = 10', '$4 = 0x11'])
    expect(printed[23]).toBe(`$5 = ${bits / 4}`)
    expect((await ended).kind).toBe('triple-fault')
    expect(Number.parseInt(/counter ([\da-f]+)/.exec(text)![1]!, 16)).toBeGreaterThanOrEqual(second[1]!)
  })
})
