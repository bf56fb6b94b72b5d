/** Compiles the procedures once, before many test files would each do so at the same time. */
import { buildSystem } from '../src/cpu/system/build.ts'

export default async function setup(): Promise<void> {
  try {
    await buildSystem()
  } catch {
    // The tests that need them say what is wrong; the others can run.
  }
}
