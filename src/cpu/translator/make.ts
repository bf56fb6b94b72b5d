/** Modules of regions, made from snapshots. */
import { REGION } from '../interpreter/build.ts'
import { Code, ModuleWriter } from '../wasm/module.ts'
import type { Counters } from './counters.ts'
import { RegionEmitter } from './emit.ts'
import type { Facts } from './facts.ts'
import { regionGraph } from './graph.ts'
import { regionImports } from './imports.ts'
import { P } from './state.ts'
import { SnapshotRecords, type Snapshot } from './snapshot.ts'

export interface Made {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Bytes of each region, which the module exports as `r0`, `r1`, ...; 0: there is none to be made. */
  readonly sizes: readonly number[]
}

/** `counters`: those that a region counts in, made before it and finished after it. */
export function makeModule(
  snapshots: readonly Snapshot[],
  facts: Facts,
  counters?: (region: number, writer: ModuleWriter) => { counters: Counters; done(): void },
): Made {
  const writer = new ModuleWriter()
  const made = snapshots.map((snapshot, i) => {
    const records = new SnapshotRecords(snapshot, facts)
    const blocks = regionGraph(records, snapshot.entry, snapshot.copy)
    if (!blocks) return undefined
    const code = new Code(REGION)
    if (snapshot.state !== undefined) code.fix(P, snapshot.state)
    const counted = counters?.(i, writer)
    new RegionEmitter(code, regionImports(writer), records, snapshot, counted?.counters).region(blocks)
    counted?.done()
    return code
  })
  made.forEach((code, i) => {
    if (!code) return
    const index = writer.declare()
    writer.define(index, code)
    writer.export(`r${i}`, index)
  })
  return { bytes: writer.bytes(), sizes: made.map((code) => code?.bytes.length ?? 0) }
}
