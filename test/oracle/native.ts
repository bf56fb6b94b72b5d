/**
 * The host's own processor as a function: cases in, results out. Builds native.c with gcc (kept in the cache folder
 * by the hash of its source) and speaks its binary format.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync } from 'node:fs'
import { arch, platform } from 'node:os'
import { join } from 'node:path'
import { cacheFolder } from '../../src/cache.ts'
import { isIntel } from './host.ts'
import { baseOf, Seg, Selector, type Mode } from './segments.ts'
import { Space } from './space.ts'

/** TRAP of a case that did not end by itself. */
export const TIMEOUT = 255

export interface Case {
  mode: Mode
  /** ES CS SS DS FS GS */
  selectors: readonly number[]
  code: Uint8Array
  /** Offset of the code in the code pages. */
  offset: number
  /** In encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8 ... */
  gpr: BigUint64Array
  flags: number
  /** Of 64-bit code, in which FS and GS hold 0. */
  fsBase: bigint
  gsBase: bigint
  /** 512 bytes, FXSAVE64 format. */
  fxsave: Uint8Array
  /** Contents of the data pages at `window` (at most 512 bytes); `background` elsewhere. */
  window: number
  memory: Uint8Array
}

export interface Result {
  gpr: BigUint64Array
  flags: number
  rip: bigint
  /** ES CS SS DS FS GS */
  selectors: Uint16Array
  fsBase: bigint
  gsBase: bigint
  /** Vector of the exception that ended the case; 3 when it ran into the int3 after it (RIP is then one further). */
  trap: number
  error: number
  /** Only of page faults, else 0. */
  cr2: bigint
  /** 416 bytes. */
  fxsave: Uint8Array
  /** Changed aligned 8-byte words: offset in the data pages, new value. */
  changed: Map<number, bigint>
}

const INPUT = 1248
const OUTPUT = 608
export const FXSAVE_USED = 416

/** The runner's path; undefined where there is no x86-64 Linux. */
export function buildNative(): string | undefined {
  if (arch() !== 'x64' || platform() !== 'linux') return undefined
  const source = join(import.meta.dirname, 'native.c')
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 24)
  const path = join(cacheFolder(), `oracle-${hash}`)
  if (!existsSync(path)) {
    const temporary = `${path}.${process.pid}`
    execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-Wl,-z,now', '-o', temporary, source])
    renameSync(temporary, path)
  }
  return path
}

/** The first instruction's offset in CS. */
export function ripOf(c: Case): bigint {
  return BigInt(Space.CODE + c.offset - baseOf(c.selectors[Seg.CS]!))
}

function encode(cases: readonly Case[]): Buffer {
  const buffer = Buffer.alloc(4 + cases.length * INPUT)
  buffer.writeUInt32LE(cases.length, 0)
  cases.forEach((c, index) => {
    const at = 4 + index * INPUT
    buffer.writeBigUInt64LE(ripOf(c), at)
    buffer.writeUInt32LE(c.offset, at + 8)
    buffer[at + 12] = c.code.length
    c.selectors.forEach((selector, i) => buffer.writeUInt16LE(selector, at + 16 + i * 2))
    buffer.set(c.code, at + 32)
    buffer.set(new Uint8Array(c.gpr.buffer, c.gpr.byteOffset, 128), at + 64)
    buffer.writeUInt32LE(c.flags, at + 192)
    buffer.writeUInt32LE(c.window, at + 200)
    buffer.writeUInt32LE(c.memory.length, at + 204)
    buffer.writeBigUInt64LE(c.fsBase, at + 208)
    buffer.writeBigUInt64LE(c.gsBase, at + 216)
    buffer.set(c.fxsave, at + 224)
    buffer.set(c.memory, at + 736)
  })
  return buffer
}

/** Splits the runner's output; `raw`, if given, sees the bytes of each result. */
function decode(bytes: Buffer, cases: readonly Case[], raw?: (bytes: Uint8Array) => void): Result[] {
  const results: Result[] = []
  let at = 0
  for (const { mode } of cases) {
    const changedCount = bytes.readUInt16LE(at + 186)
    const end = at + OUTPUT + changedCount * 16
    raw?.(bytes.subarray(at, end))
    const gpr = new BigUint64Array(16)
    for (let r = 0; r < 16; r++) gpr[r] = bytes.readBigUInt64LE(at + r * 8)
    // On AMD's the upper half is the kernel's after its IRET to a 16-bit stack; 32-bit code cannot see it.
    if (mode !== 64) gpr[4] = BigInt.asUintN(32, gpr[4]!)
    const changed = new Map<number, bigint>()
    for (let w = at + OUTPUT; w < end; w += 16)
      changed.set(Number(bytes.readBigUInt64LE(w)), bytes.readBigUInt64LE(w + 8))
    results.push({
      gpr,
      flags: bytes.readUInt32LE(at + 128),
      rip: bytes.readBigUInt64LE(at + 136),
      cr2: bytes.readBigUInt64LE(at + 144),
      fsBase: bytes.readBigUInt64LE(at + 152),
      gsBase: bytes.readBigUInt64LE(at + 160),
      selectors: Uint16Array.from({ length: 6 }, (_, s) => bytes.readUInt16LE(at + 168 + s * 2)),
      error: bytes.readUInt32LE(at + 180),
      trap: bytes.readUInt16LE(at + 184),
      fxsave: new Uint8Array(bytes.subarray(at + 188, at + 188 + FXSAVE_USED)),
      changed,
    })
    at = end
  }
  if (at !== bytes.length) throw new Error('the native runner answered with the wrong length')
  return results
}

/** Runs the cases on this processor, one process for all of them. */
export function runNative(path: string, cases: readonly Case[], raw?: (bytes: Uint8Array) => void): Result[] {
  const run = spawnSync(path, { input: encode(cases), maxBuffer: 4 << 30 })
  if (run.error) throw run.error
  if (run.status !== 0)
    throw new Error(`native runner: ${run.signal ?? `exit ${run.status}`} ${run.stderr.toString().trim()}`)
  return decode(run.stdout, cases, raw)
}

/**
 * The runner, if this host can judge: an Intel processor (AMD's differ where the SDM leaves things open) under a
 * kernel that lets user code set FS base.
 */
export function referenceNative(): string | undefined {
  if (!isIntel) return undefined
  const path = buildNative()
  if (path === undefined) return undefined
  const nop: Case = {
    mode: 64,
    selectors: [Selector.DATA, Selector.CODE64, Selector.DATA, Selector.DATA, 0, 0],
    code: Uint8Array.of(0x90),
    offset: 0,
    gpr: new BigUint64Array(16),
    flags: 0x202,
    fsBase: 0n,
    gsBase: 0n,
    fxsave: new Uint8Array(512),
    window: Space.DATA,
    memory: new Uint8Array(0),
  }
  try {
    return runNative(path, [nop])[0]!.rip === BigInt(Space.CODE + 2) ? path : undefined
  } catch {
    return undefined
  }
}
