/**
 * The processor, compiled, from Node's cache: `#processor` in a checkout. Bundles (scripts/bundle.ts) have it in files
 * beside them or, in browsers, in themselves.
 */
import type { Interpreter } from './interpreter/build.ts'
import { cachedInterpreter } from './interpreter/cached.ts'
import { buildSystem } from './system/build.ts'

/** The module of the procedures. */
export const systemModule = (): Promise<Uint8Array<ArrayBuffer>> => buildSystem()

/** In browsers a promise of it: whoever runs there, too, awaits it. */
export const interpreter = (): Interpreter => cachedInterpreter()
