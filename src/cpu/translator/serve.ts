/** The other side of maker.ts, in a thread of its own: makes modules from snapshots and compiles them. */
import { M } from '../layout.ts'
import { Facts, type Tables } from './facts.ts'
import { makeModule } from './make.ts'
import type { Snapshot } from './snapshot.ts'

export type ToMaker =
  | { readonly kind: 'tables'; readonly interpreter: number; readonly tables: Tables }
  | { readonly kind: 'make'; readonly job: number; readonly interpreter: number; readonly snapshots: Snapshot[] }

export type FromMaker =
  | {
      readonly job: number
      readonly module: WebAssembly.Module
      readonly bytes: number
      readonly sizes: readonly number[]
    }
  | { readonly job: number; readonly error: string }

/** What the other thread sees of this one. */
export interface Thread {
  post(message: ToMaker): void
}

/** `post`: to the thread that asks. Returns what takes its messages. */
export function serve(post: (message: FromMaker) => void): (message: ToMaker) => Promise<void> {
  const known = new Map<number, Facts>()
  return async (message) => {
    if (message.kind === 'tables') return void known.set(message.interpreter, new Facts(message.tables))
    const { job, interpreter, snapshots } = message
    try {
      const { bytes, sizes } = makeModule(snapshots, known.get(interpreter) as Facts)
      const module = await WebAssembly.compile(bytes)
      await enterOnce(module)
      post({ job, module, bytes: bytes.length, sizes })
    } catch (error) {
      post({ job, error: String(error) })
    }
  }
}

/** So that the first state block is there. */
const MEMORY_PAGES = (M.VCPU + M.VCPU_STRIDE) / 65536

/**
 * V8 compiles a function when it is called first, for all threads. So each region is called here, with a memory of zeros,
 * whose budget is used up: it leaves at once, or traps where it reads the record at which it leaves.
 */
async function enterOnce(module: WebAssembly.Module): Promise<void> {
  const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES })
  const table = new WebAssembly.Table({ element: 'anyfunc', initial: 0 })
  const imports: WebAssembly.Imports = {}
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    const value = kind === 'memory' ? memory : kind === 'table' ? table : () => 0
    ;(imports[from] ??= {})[name] = value
  }
  const { exports } = await WebAssembly.instantiate(module, imports)
  const stack = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  for (const region of Object.values(exports))
    try {
      ;(region as CallableFunction)(M.VCPU, -1n, 0)
    } catch {
      // Out of the small memory's bounds.
    }
  Error.stackTraceLimit = stack
}
