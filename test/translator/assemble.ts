/** Assembly text (Intel syntax, 64-bit unless it says .code32) into plain bytes, by the system's tools, in the cache. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cacheFolder, readCached, writeWhole } from '../../src/cache.ts'

function tool(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr}`)
}

/** The code of `text`, which begins at `origin`. */
export function assemble(text: string, origin: number): Uint8Array {
  const source = `.intel_syntax noprefix\n.text\n.globl _start\n_start:\n${text}\n  int3\n`
  const hash = createHash('sha256').update(`${origin}\n${source}`).digest('hex').slice(0, 16)
  const name = `assembled-${hash}`
  const known = readCached(name)
  if (known) return Uint8Array.from(known)
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-as-'))
  try {
    const at = (file: string) => join(folder, file)
    writeFileSync(at('a.s'), source)
    tool('as', ['--64', '-o', at('a.o'), at('a.s')])
    tool('ld', ['-Ttext', `0x${origin.toString(16)}`, '--oformat', 'binary', '-o', at('a'), at('a.o')])
    const bytes = readFileSync(at('a'))
    writeWhole(join(cacheFolder(), name), bytes)
    return Uint8Array.from(bytes)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
