/** A folder of a test file's own, which is also where its code finds the cache. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'

/** The folder's path; it is removed after the file's last test. */
export function ownCache(): string {
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
  const before = process.env['XDG_CACHE_HOME']
  beforeAll(() => void (process.env['XDG_CACHE_HOME'] = folder))
  afterAll(() => {
    if (before === undefined) delete process.env['XDG_CACHE_HOME']
    else process.env['XDG_CACHE_HOME'] = before
    rmSync(folder, { recursive: true })
  })
  return folder
}
