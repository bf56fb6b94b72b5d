/** Which boots make a matrix, and which of them are this machine's when several share the work. */
import { InputError } from '../errors.ts'
import type { PlatformName } from '../platforms/index.ts'

/** One boot. Plain data: it crosses to a worker. */
export interface CellPlan {
  /** As the user named it. */
  readonly kernel: string
  /** Where it is. */
  readonly path: string
  readonly platform: PlatformName
  /** Bytes. */
  readonly memory: number
  readonly cpus: number
  readonly append: string | undefined
  /** A file; undefined: the default initramfs. */
  readonly initrd: string | undefined
  /** A command for the default initramfs. */
  readonly exec: string | undefined
  /** The boot is good, and ends, when the console shows this. */
  readonly until: string | undefined
  /** Milliseconds. */
  readonly timeout: number
  /** Time passes with instructions executed, so that a boot is the same each time. */
  readonly deterministic?: boolean
  /** Read the kernel's tables of operations at the end. */
  readonly ops?: boolean
  /** Count what the kernel does without asking; everything is interpreted then. */
  readonly census?: boolean
  /** A file with the kernel's symbols, if its own are not enough. */
  readonly systemMap?: string
}

export interface Shard {
  /** From 1. */
  readonly index: number
  readonly count: number
}

/** `2/5`. */
export function parseShard(text: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(text.trim())
  const [index, count] = [Number(match?.[1]), Number(match?.[2])]
  if (!match || count < 1 || index < 1 || index > count)
    throw new InputError(`--shard '${text}' is not a part of a whole; write 1/4 to 4/4 for four parts`)
  return { index, count }
}

/** The cells of a shard: every n-th, so that each gets some of every platform's. */
export function cellsOf<Plan>(cells: readonly Plan[], shard: Shard | undefined): Plan[] {
  return shard ? cells.filter((_, i) => i % shard.count === shard.index - 1) : [...cells]
}
