/** The real GDB against a stock kernel, whose addresses come from its own symbols. */
import { connect, type Socket } from 'node:net'
import { afterEach, beforeAll, expect, test } from 'vitest'
import type { Kernel } from '../src/boot/entries.ts'
import { loadKernel } from '../src/boot/kernel.ts'
import { GdbServer, parseGdbAddress } from '../src/gdb/server.ts'
import { Machine } from '../src/machine/machine.ts'
import type { ExitReason } from '../src/machine/types.ts'
import { DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'
import { decodeKallsyms } from '../src/symbols/kallsyms.ts'
import type { SymbolTable } from '../src/symbols/symbols.ts'
import { gdb } from './gdb/client.ts'

let kernel: Kernel
let symbols: SymbolTable
let server: GdbServer
let ended: Promise<ExitReason>
let console = ''
const ending = new AbortController()

beforeAll(async () => {
  kernel = await loadKernel(await kernelFile(DEFAULT_KERNEL))
  symbols = decodeKallsyms(kernel.elf!)!
})

async function start(cpus: number): Promise<Machine> {
  console = ''
  const machine = await Machine.create({
    memory: 128 << 20,
    cpu: 'inorder',
    platform: 'native',
    cpus,
    serial: { com1: (bytes) => void (console += Buffer.from(bytes).toString('latin1')) },
    boot: { kernel, initrd: undefined, cmdline: 'console=ttyS0 panic=-1' },
  })
  await machine.pause()
  server = await GdbServer.listen(parseGdbAddress(':0'), {
    machine,
    bits: 64,
    onKill: () => ending.abort(),
    requests: () => ['none'],
  })
  ended = machine.run(ending.signal)
  return machine
}

afterEach(() => server[Symbol.dispose]())

const at = (name: string) => `0x${symbols.address(name)!.toString(16)}`

test('breakpoints, registers, steps, watchpoints, memory, monitor, detach', async () => {
  await start(2)
  const commands = [
    `hbreak *${at('start_kernel')}`,
    'continue',
    'print $rip == ' + at('start_kernel'),
    'print/x $efer & 0x500',
    'print/x $cr0 & 0x80000001',
    'info threads',
    'set $slot = $rsp - 8',
    'watch -l *(long *)$slot',
    'continue',
    'delete',
    'stepi 5',
    'print/x $rdi',
    'set $old = $rdi',
    'set $rdi = 0x1122334455667788',
    'print/x $rdi',
    'set $rdi = $old',
    `break *${at('do_one_initcall')}`,
    'ignore 3 5',
    'continue',
    'info breakpoints',
    'monitor vcpus',
    `monitor translate ${at('start_kernel')}`,
    'delete',
    'detach',
  ]
  const printed = await gdb({ port: server.port, commands })
  const say = (part: number) => printed[part]!
  expect(say(0)).toBe(`Hardware assisted breakpoint 1 at ${at('start_kernel')}`)
  expect(say(1)).toContain('Breakpoint 1, ')
  expect([say(2), say(3), say(4)]).toEqual(['$1 = 1', '$2 = 0x500', '$3 = 0x80000001'])
  expect(say(5)).toMatch(/Thread 1 \(vCPU 0, running\)[^]*Thread 2 \(vCPU 1, not started\)/)
  expect(say(8)).toMatch(/Hardware watchpoint 2: -location[^]*Old value[^]*New value/)
  expect(say(14)).toBe('$5 = 0x1122334455667788')
  expect(say(18)).toContain('Breakpoint 3, ')
  expect(say(19)).toContain('already hit 6 times')
  expect(say(20)).toMatch(/^vCPU 0: running at 0x[\da-f]+\nvCPU 1: \w+/)
  expect(say(21)).toBe(`0x${(symbols.address('start_kernel')! - 0xffffffff80000000n).toString(16)}`)
  // It goes on by itself: there is no root file system.
  expect((await ended).kind).toBe('reset')
  expect(console).toContain('Kernel panic - not syncing: VFS: Unable to mount root fs')
}, 250_000)

/** Packets without acknowledgement. */
class Raw {
  readonly #socket: Socket
  #text = ''
  #waiting: ((packet: string) => void) | undefined

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.setEncoding('latin1').on('data', (piece: string) => {
      this.#text += piece
      this.#offer()
    })
  }

  #offer(): void {
    const packet = /\$([^#]*)#../.exec(this.#text)
    if (!packet || !this.#waiting) return
    this.#text = this.#text.slice(packet.index + packet[0].length)
    this.#socket.write('+')
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting(packet[1]!)
  }

  next(): Promise<string> {
    return new Promise((resolve) => {
      this.#waiting = resolve
      this.#offer()
    })
  }

  say(data: string): Promise<string> {
    const sum = [...data].reduce((all, c) => all + c.charCodeAt(0), 0) & 0xff
    this.#socket.write(`$${data}#${sum.toString(16).padStart(2, '0')}`)
    return this.next()
  }

  interrupt(): void {
    this.#socket.write('\x03')
  }

  close(): void {
    this.#socket.destroy()
  }
}

test('interrupt, a debugger that goes without a word, bad packets', async () => {
  const machine = await start(1)
  const raw = new Raw(server.port)
  expect(await raw.say('qSupported:xmlRegisters=i386')).toContain('qXfer:features:read+')
  expect(await raw.say('?')).toBe('T05thread:1;')
  expect(await raw.say('m0,8')).toMatch(/^[\da-f]{16}$/)
  expect([await raw.say('m80000000,8'), await raw.say('Hg7'), await raw.say('P999=00')]).toEqual(['E01', 'E01', 'E01'])
  expect(await raw.say('bogus')).toBe('')
  const stopped = raw.say('c')
  await new Promise((resolve) => setTimeout(resolve, 300))
  raw.interrupt()
  expect(await stopped).toBe('T02thread:1;')
  const { instructions } = machine.stats()
  expect(instructions).toBeGreaterThan(1000)
  await raw.say(`Z0,${symbols.address('do_one_initcall')!.toString(16)},1`)
  raw.close()
  expect((await ended).kind).toBe('reset')
}, 250_000)
