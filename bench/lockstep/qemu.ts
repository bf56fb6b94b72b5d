/**
 * QEMU's side of the comparison: TCG with one instruction a block and its registers logged before each. Its clock is
 * the instruction count, so that every run is the same. The GDB stub is for what takes too long in the log.
 */
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createReadStream, readFileSync, writeFileSync } from 'node:fs'
import type { ReadStream } from 'node:fs'
import { join } from 'node:path'
import type { Boot } from '../../src/boot/layout.ts'
import { bootArguments } from '../../test/qemu/entry.ts'
import { Gdb } from './gdb.ts'
import { parseState } from './state.ts'
import type { QemuState } from './state.ts'

/** `before`: before an instruction. `interrupt`: when an interrupt from outside struck. */
export type Event =
  | { readonly kind: 'before'; readonly state: QemuState }
  | { readonly kind: 'interrupt'; readonly vector: number; readonly state: QemuState }

const LOG = 'cpu,exec,int,nochain'
/** The first vector that can come from outside. */
const EXTERNAL = 32

export class Qemu {
  readonly #child: ChildProcess
  readonly #log: ReadStream
  readonly #gdb: Gdb
  readonly #memoryFile: string
  #stopped: Promise<string>

  private constructor(child: ChildProcess, gdb: Gdb, log: ReadStream, memoryFile: string) {
    this.#child = child
    this.#log = log
    this.#gdb = gdb
    this.#memoryFile = memoryFile
    this.#stopped = gdb.goOn()
  }

  /** A machine that executes `boot` from its entry on; `folder` gets scratch files. */
  static async start(boot: Boot, memory: number, cpu: string, folder: string): Promise<Qemu> {
    const memoryFile = join(folder, 'memory')
    writeFileSync(memoryFile, '')
    const socket = join(folder, 'gdb')
    const log = join(folder, 'log')
    execFileSync('mkfifo', [log])
    const stream = createReadStream(log, { encoding: 'latin1', highWaterMark: 1 << 18 })
    const megabytes = `${memory >>> 20}M`
    // microvm: no chipset between the processor and its memory.
    const machine = ['-M', 'microvm,pit=on,pic=on,rtc=on,isa-serial=on,memory-backend=ram', '-m', megabytes]
    const ram = ['-object', `memory-backend-file,id=ram,size=${megabytes},mem-path=${memoryFile},share=on`]
    const time = ['-accel', 'tcg', '-icount', 'shift=0,sleep=off', '-singlestep']
    const quiet = ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'null']
    const debug = ['-S', '-gdb', `unix:${socket},server=on,wait=off`, '-d', LOG, '-D', log]
    const args = [...machine, ...ram, ...time, '-cpu', cpu, ...quiet, ...debug, ...bootArguments(boot, folder)]
    const child = spawn('qemu-system-x86_64', args, { stdio: 'ignore' })
    child.on('error', (error) => {
      throw error
    })
    return new Qemu(child, await Gdb.connect(socket), stream, memoryFile)
  }

  /** What happens, in order. */
  async *events(): AsyncGenerator<Event> {
    let text = ''
    for await (const piece of this.#log) {
      text += piece as string
      let start = text.startsWith('Trace ') ? 0 : text.indexOf('\nTrace ') + 1
      for (;;) {
        const end = text.indexOf('\nTrace ', start + 1)
        if (end < 0) break
        yield* events(text.slice(start, end + 1))
        start = end + 1
      }
      text = text.slice(start)
    }
    yield* events(text)
  }

  /**
   * Before a repetition at `rip` of very many steps: let it go to its end, at `next`, unobserved. All events until
   * then are at `rip`; they must be read meanwhile, because QEMU waits for its reader.
   */
  async skip(rip: bigint, next: bigint): Promise<void> {
    this.#gdb.interrupt()
    await this.#stopped
    if ((await this.#gdb.rip()) === rip) {
      await this.#gdb.monitor('log none')
      await this.#gdb.command(`Z0,${next.toString(16)},1`)
      await this.#gdb.goOn()
      await this.#gdb.command(`z0,${next.toString(16)},1`)
      await this.#gdb.monitor(`log ${LOG}`)
    }
    this.#stopped = this.#gdb.goOn()
  }

  /** Stop for good: where. What was executed until then is still to come as events, whose readers must not wait. */
  async stop(): Promise<bigint> {
    this.#gdb.interrupt()
    await this.#stopped
    const rip = await this.#gdb.rip()
    this.kill()
    return rip
  }

  /** Guest RAM of a machine that has stopped. */
  memory(): Buffer {
    return readFileSync(this.#memoryFile)
  }

  kill(): void {
    this.#gdb.close()
    this.#child.kill('SIGKILL')
  }
}

/** The events in one piece of the log, from one `Trace` line to the next. */
function* events(text: string): Generator<Event> {
  const stopped = text.includes('\nStopped execution')
  const before = text.indexOf('\n') + 1
  if (!stopped && isState(text, before)) yield { kind: 'before', state: parseState(text, before) }
  for (const match of text.matchAll(/^ *\d+: v=(\w\w) e=\w+ i=(\d) .*\n/gm)) {
    const vector = parseInt(match[1]!, 16)
    if (vector < EXTERNAL || match[2] !== '0') continue
    yield { kind: 'interrupt', vector, state: parseState(text, match.index + match[0].length) }
  }
}

function isState(text: string, at: number): boolean {
  return text.startsWith('RAX=', at) || text.startsWith('EAX=', at)
}
