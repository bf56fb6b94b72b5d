/**
 * The host's own CPU as an oracle for floating point: `oracle.c`, compiled once, executes one instruction a case. Needs
 * an x86-64 host and gcc. The core's side of a case is set up and read back here too, without the code under test.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { S } from '../../../src/cpu/layout.ts'
import { cacheFolder } from '../../../src/cache.ts'
import { buildSystem } from '../../../src/cpu/system/build.ts'

/** One case, in and out: `struct state` of oracle.c. */
export const Case = {
  CODE: 0,
  LENGTH: 16,
  TRAP: 20,
  RAX: 24,
  RCX: 32,
  FLAGS: 40,
  CODE_AT: 48,
  MEM_AT: 56,
  MEM: 64,
  FX: 576,
  SIZE: 1088,
} as const

/** Offsets in an FXSAVE image (SDM Vol. 1 10.5.1), from the start of a case. */
export const Fx = {
  FCW: 576,
  FSW: 578,
  FTW: 580,
  FOP: 582,
  FIP: 584,
  FDP: 592,
  MXCSR: 600,
  MXCSR_MASK: 604,
  ST: 608,
  XMM: 736,
} as const

function program(): string {
  const source = fileURLToPath(new URL('oracle.c', import.meta.url))
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 24)
  const built = join(cacheFolder(), `fp-oracle-${hash}`)
  if (!existsSync(built)) {
    const temporary = `${built}.${process.pid}`
    execFileSync('gcc', ['-O1', '-Wall', '-o', temporary, source])
    renameSync(temporary, built)
  }
  return built
}

/** Cases, one after another in one buffer. */
export class Cases {
  readonly bytes: Buffer
  readonly view: DataView
  readonly count: number
  constructor(count: number, bytes: Buffer = Buffer.alloc(count * Case.SIZE)) {
    this.count = count
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }
  /** Case `index` runs instruction `code`; the state is that of a fresh processor. */
  init(index: number, code: readonly number[]): void {
    const at = index * Case.SIZE
    this.bytes.set(code, at + Case.CODE)
    this.view.setUint32(at + Case.LENGTH, code.length, true)
    this.view.setUint32(at + Case.FLAGS, 0x202, true)
    this.view.setUint16(at + Fx.FCW, 0x37f, true)
    this.view.setUint32(at + Fx.MXCSR, 0x1f80, true)
  }
  /** What the host's CPU makes of them. */
  run(): Cases {
    const { stdout, status, error } = spawnSync(program(), { input: this.bytes, maxBuffer: this.bytes.length + 1024 })
    if (error) throw error
    if (status !== 0 || stdout.length !== this.bytes.length) throw new Error(`oracle: status ${status}`)
    return new Cases(this.count, stdout)
  }
}

type Procedures = Record<string, (...args: (number | bigint)[]) => number | bigint>

/** The procedures with a memory of their own; state block at `p`. */
export class Core {
  readonly p = 0x10000
  readonly memory: WebAssembly.Memory
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly call: Procedures
  constructor(module: WebAssembly.Module) {
    this.memory = new WebAssembly.Memory({ initial: 16, maximum: 65536 })
    const host = new Proxy(
      {},
      {
        get: (_, name) => () => {
          throw new Error(`host.${String(name)} was called`)
        },
      },
    )
    this.call = new WebAssembly.Instance(module, { env: { memory: this.memory }, host }).exports as Procedures
    this.bytes = new Uint8Array(this.memory.buffer)
    this.view = new DataView(this.memory.buffer)
  }
  static async create(): Promise<Core> {
    return new Core(await WebAssembly.compile(await buildSystem()))
  }
  /** Brings case `index` into the state block. */
  load(cases: Cases, index: number): void {
    const at = index * Case.SIZE,
      { p, view } = this,
      from = cases.view
    view.setInt32(p + S.EXC, -1, true)
    view.setBigUint64(p + S.CR4, 0x600n, true)
    view.setBigUint64(p + S.CR0, 0x33n, true)
    const fsw = from.getUint16(at + Fx.FSW, true),
      top = (fsw >> 11) & 7
    view.setUint32(p + S.FCW, from.getUint16(at + Fx.FCW, true), true)
    view.setUint32(p + S.FSW, fsw, true)
    view.setUint32(p + S.FTW, from.getUint8(at + Fx.FTW), true)
    view.setUint32(p + S.MXCSR, from.getUint32(at + Fx.MXCSR, true), true)
    for (let i = 0; i < 8; i++) {
      const register = p + S.FPR + ((top + i) & 7) * 16
      this.bytes.set(cases.bytes.subarray(at + Fx.ST + i * 16, at + Fx.ST + i * 16 + 10), register)
      this.bytes.fill(0, register + 10, register + 16)
    }
    this.bytes.set(cases.bytes.subarray(at + Fx.XMM, at + Fx.XMM + 64), p + S.VEC0)
    this.bytes.set(cases.bytes.subarray(at + Case.MEM, at + Case.MEM + 512), p + S.SCRATCH)
  }
  /** Vector of the exception that was raised, 0 none. */
  trap(): number {
    const vector = this.view.getInt32(this.p + S.EXC, true)
    return vector < 0 ? 0 : vector
  }
  u32(offset: number): number {
    return this.view.getUint32(this.p + offset, true)
  }
  u64(offset: number): bigint {
    return this.view.getBigUint64(this.p + offset, true)
  }
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).reverse().toString('hex')
}
