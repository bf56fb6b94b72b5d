/** A whole machine saved and loaded: its parts' states, then the memory of its core, without the pages that are zero. */
import { crc32 } from '../checksum.ts'
import { asLayout, M } from '../cpu/layout.ts'
import {
  clearState,
  PAGE,
  type Region,
  stateLoaded,
  stateRegions,
  stateSettled,
  translatedPages,
} from '../cpu/saved.ts'
import { SnapshotError } from '../snapshot/error.ts'
import type { OpenSnapshot } from '../snapshot/file.ts'
import type { Identity, Page } from '../snapshot/format.ts'
import { load, save } from '../snapshot/stateful.ts'
import { type Memory, writeSnapshot } from '../snapshot/write.ts'
import { VERSION } from '../version.ts'
import type { Assembly } from './assemble.ts'
import type { Hardware } from './types.ts'

/** What a file must have been made by to be restored here. */
export const identity: Identity = { version: VERSION, layout: crc32(new TextEncoder().encode(asLayout())).toString(16) }

const FIRST_OF_RAM = M.RAM / PAGE

/** The machine must not run until this has ended. `notes` is the caller's, for whoever looks at the file. */
export function saveMachine(machine: Assembly, notes: Readonly<Record<string, unknown>>): AsyncGenerator<Uint8Array> {
  machine.core.absent.all()
  stateSettled(machine.core)
  return writeSnapshot(identity, { ...notes, hardware: machine.hardware }, save(machine), memoryOf(machine))
}

/** What the platform looks at must be there before the guest goes on; what TLBs lead to is wanted first of the rest. */
function memoryOf({ core, platform }: Assembly): Memory {
  const needed = new Set(platform.needs?.() ?? [])
  const wanted = new Set(translatedPages(core)).difference(needed)
  const [ram, ...others] = stateRegions(core).toReversed()
  function* pages(numbers: Iterable<number>): Generator<Page> {
    for (const number of numbers) {
      const at = number * PAGE
      if (!isZero(core.u64, at >> 3)) yield { number, bytes: core.u8.subarray(at, at + PAGE) }
    }
  }
  function* first(): Generator<number> {
    for (const region of others) yield* within(region)
    for (const page of needed) yield FIRST_OF_RAM + page
  }
  function* later(): Generator<number> {
    for (const page of wanted) yield FIRST_OF_RAM + page
    for (const number of within(ram as Region)) {
      const page = number - FIRST_OF_RAM
      if (!needed.has(page) && !wanted.has(page)) yield number
    }
  }
  return { first: pages(first()), later: pages(later()) }
}

function* within({ first, end }: Region): Generator<number> {
  for (let at = first; at < end; at += PAGE) yield at / PAGE
}

function isZero(words: BigUint64Array, first: number): boolean {
  for (let i = first; i < first + PAGE / 8; i++) if (words[i] !== 0n) return false
  return true
}

/** The hardware that a snapshot was taken of. */
export function hardwareOf({ header }: OpenSnapshot): Hardware {
  return header.about['hardware'] as Hardware
}

/** `machine` is fresh, of the snapshot's hardware. */
export async function loadMachine(machine: Assembly, snapshot: OpenSnapshot): Promise<void> {
  const { core, platform } = machine
  load(machine, snapshot.state)
  clearState(core, platform.ownMemory ?? machine.hardware.memory)
  const regions = stateRegions(core)
  const check = (pages: readonly number[], places: readonly Region[]) => {
    for (const page of pages)
      if (!places.some(({ first, end }) => page * PAGE >= first && page * PAGE < end))
        throw new SnapshotError('the snapshot is damaged: it has a page that is not the machine’s')
  }
  await snapshot.pages(
    (pages, bytes) => {
      check(pages, regions)
      for (const [i, page] of pages.entries()) core.u8.set(bytes.subarray(i * PAGE, (i + 1) * PAGE), page * PAGE)
    },
    (pages, unpack) => {
      check(pages, regions.slice(-1))
      core.absent.add({ pages: pages.map((page) => page - FIRST_OF_RAM), unpack })
    },
  )
  for (const frame of platform.needs?.() ?? []) core.absent.bring(frame)
  stateLoaded(core)
}
