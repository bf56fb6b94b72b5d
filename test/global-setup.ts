/**
 * Compiles the procedures once, before many test files would each do so at the same time. Not for a few chosen files,
 * which may need none.
 */
import type { TestProject } from 'vitest/node'
import { buildSystem } from '../src/cpu/system/build.ts'

export default async function setup({ vitest }: TestProject): Promise<void> {
  if (vitest.filenamePattern?.length) return
  try {
    await buildSystem()
  } catch {
    // The tests that need them say what is wrong; the others can run.
  }
}
