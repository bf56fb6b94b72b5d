/** The processor's modules, compiled once for all machines of a thread: they never change. */
import { interpreter, systemModule } from '#processor'
import type { Interpreter } from './interpreter/build.ts'

let own: Promise<Interpreter> | undefined
let system: Promise<WebAssembly.Module> | undefined
const interpreters = new WeakMap<Interpreter, Promise<WebAssembly.Module>>()

/** The interpreter of this version. */
export const ownInterpreter = (): Promise<Interpreter> => (own ??= Promise.resolve(interpreter()))

export const compiledSystem = (): Promise<WebAssembly.Module> =>
  (system ??= systemModule().then((bytes) => WebAssembly.compile(bytes)))

export function compiledInterpreter(which: Interpreter): Promise<WebAssembly.Module> {
  let module = interpreters.get(which)
  if (!module) interpreters.set(which, (module = WebAssembly.compile(which.bytes)))
  return module
}
