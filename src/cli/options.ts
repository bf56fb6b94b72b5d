/** Values of command-line options: text in, checked value out, or an InputError that says what is wrong. */
import { totalmem } from 'node:os'
import { M } from '../cpu/layout.ts'
import { InputError } from '../errors.ts'
import { unknownName } from './nearest.ts'

const MIB = 1 << 20
/** No kernel that we know gets anywhere with less; what a given kernel needs is checked when it is laid out. */
const MINIMUM_MIB = 16
const MOST_JOBS = 64

/** `512M`, `2G`, `1.5G`; a bare number means MiB, as in QEMU. Returns bytes. */
export function parseMemory(text: string, hostBytes = hostMemory()): number {
  const match = /^(\d+(?:\.\d+)?)\s*([MG]?)(?:i?B)?$/i.exec(text.trim())
  if (!match) throw new InputError(`--memory '${text}' is not a size; write 512M or 2G`)
  const mib = Number(match[1]) * (match[2]!.toUpperCase() === 'G' ? 1024 : 1)
  if (!Number.isInteger(mib)) throw new InputError(`--memory ${text} is not a whole number of MiB`)
  if (mib < MINIMUM_MIB) throw new InputError(`--memory ${text} is too small; at least ${MINIMUM_MIB}M`)
  if (mib * MIB > M.MAX_RAM) throw new InputError(`--memory ${text} is too large; at most ${M.MAX_RAM / MIB}M`)
  if (mib * MIB > hostBytes)
    throw new InputError(`--memory ${text} is more than this host has (${Math.floor(hostBytes / MIB)}M)`)
  return mib * MIB
}

/** Memory of the machine, or of the container (cgroup) that we are in. */
function hostMemory(): number {
  const limit = process.constrainedMemory()
  // Without a limit Node reports 0 or a number near 2^64.
  return limit > 0 && limit < totalmem() ? limit : totalmem()
}

/** Seconds, fractions allowed. Returns milliseconds. */
export function parseTimeout(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : Number.NaN
  if (!(seconds > 0)) throw new InputError(`--timeout '${text}' is not a positive number of seconds`)
  // Node's timers hold a 32-bit number of milliseconds.
  if (seconds > 2_147_483) throw new InputError(`--timeout ${text} is too long; at most 2147483 seconds`)
  return Math.ceil(seconds * 1000)
}

/** Number of vCPUs. */
export function parseCpus(text: string): number {
  const count = /^\d+$/.test(text.trim()) ? Number(text) : 0
  if (count < 1 || count > M.MAX_VCPUS)
    throw new InputError(`--cpus '${text}' is not a number from 1 to ${M.MAX_VCPUS}`)
  return count
}

/** How many boots at once. */
export function parseJobs(text: string): number {
  const count = /^\d+$/.test(text.trim()) ? Number(text) : 0
  if (count < 1 || count > MOST_JOBS) throw new InputError(`--jobs '${text}' is not a number from 1 to ${MOST_JOBS}`)
  return count
}

/** `a,no-b`: changes to a platform's features. */
export function parseFeatures(text: string, platform: string, features: readonly string[]): string[] {
  const changes = text.split(',').map((change) => change.trim())
  if (features.length === 0) throw new InputError(`--features: ${platform} has none to choose`)
  if (changes.includes('')) throw new InputError(`--features '${text}': write names with one comma between, as a,no-b`)
  for (const change of changes) parseName(`feature of ${platform}`, change.replace(/^no-/, ''), features)
  return changes
}

/** One of `names`. */
export function parseName<Name extends string>(what: string, text: string, names: readonly Name[]): Name {
  const found = names.find((name) => name === text)
  if (found === undefined) throw new InputError(unknownName(what, text, names))
  return found
}
