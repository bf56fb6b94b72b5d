/** A whole machine saved and loaded: its parts' states, then the memory of its core, without the pages that are zero. */
import { clearState, PAGE, stateLoaded, stateRegions } from '../cpu/saved.ts'
import { asLayout } from '../cpu/layout.ts'
import { SnapshotError } from '../snapshot/error.ts'
import { type Identity, type OpenSnapshot, type Page, writeSnapshot } from '../snapshot/file.ts'
import { load, save } from '../snapshot/stateful.ts'
import { VERSION } from '../version.ts'
import type { Assembly } from './assemble.ts'
import type { Hardware } from './types.ts'

/** What a file must have been made by to be restored here. */
export const identity: Identity = { version: VERSION, layout: fingerprint(asLayout()) }

/** FNV-1a, 32 bits. */
function fingerprint(text: string): string {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return (hash >>> 0).toString(16)
}

/** The machine must not run until this has ended. `notes` is the caller's, for whoever looks at the file. */
export function saveMachine(machine: Assembly, notes: Readonly<Record<string, unknown>>): AsyncGenerator<Uint8Array> {
  return writeSnapshot(identity, { ...notes, hardware: machine.hardware }, save(machine), pagesOf(machine))
}

function* pagesOf({ core }: Assembly): Generator<Page> {
  for (const { first, end } of stateRegions(core))
    for (let at = first; at < end; at += PAGE) {
      if (!isZero(core.u64, at >> 3)) yield { number: at / PAGE, bytes: core.u8.subarray(at, at + PAGE) }
    }
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
  const { core } = machine
  clearState(core, machine.hardware.memory)
  load(machine, snapshot.state)
  const regions = stateRegions(core)
  await snapshot.pages((page, bytes) => {
    const at = page * PAGE
    // A run may go through regions that lie side by side.
    const known = (place: number) => regions.some(({ first, end }) => place >= first && place < end)
    for (let place = at; place < at + bytes.length; place += PAGE)
      if (!known(place)) throw new SnapshotError('the snapshot is damaged: it has a page that is not the machine’s')
    core.u8.set(bytes, at)
  })
  stateLoaded(core)
}
