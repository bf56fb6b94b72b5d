/**
 * A snapshot as bytes:
 *
 *     "paravirt snapshot\n"  length of the header  header (JSON)  chunks
 *     chunk: kind  packed length  unpacked length  number of pages  page numbers  packed bytes  CRC-32 of all of them
 *
 * (numbers are u32, little-endian). First comes the chunk of the state (CBOR, the header in it once more), then the
 * memory without pages that are all zero: what is used at once, then what may wait; last the end, which counts the pages.
 */
import type { Saved } from './stateful.ts'

export const MAGIC = 'paravirt snapshot\n'
/** Changes whenever old files cannot be read any more. */
export const FORMAT = 3
export const PAGE = 4096
export const Kind = { STATE: 1, MEMORY: 2, END: 3, LATER: 4 } as const
/** Bytes before the page numbers. */
export const CHUNK_HEAD = 16

export interface Identity {
  /** Version of the package. */
  readonly version: string
  /** Fingerprint of how the core lays out its memory. */
  readonly layout: string
}

/** What can be known of a snapshot without restoring it. */
export interface SnapshotHeader extends Identity {
  readonly format: number
  readonly compression: string
  /** When it was taken, as ISO 8601. */
  readonly created: string
  /** What the caller says of the machine, as JSON. */
  readonly about: Readonly<Record<string, unknown>>
}

/** What the state's chunk holds. */
export interface StateChunk {
  /** The header's text. */
  readonly header: string
  readonly state: Saved
}

export interface Page {
  /** Number of the page in the core's memory. */
  readonly number: number
  /** 4096 bytes. */
  readonly bytes: Uint8Array
}

export function words(values: readonly number[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(4 * values.length))
  for (const [i, value] of values.entries()) view.setUint32(4 * i, value, true)
  return new Uint8Array(view.buffer)
}

export function numbers(bytes: Uint8Array): number[] {
  // As in the core's memory: hosts are little-endian.
  return [...new Uint32Array(new Uint8Array(bytes.subarray(0, bytes.length & ~3)).buffer)]
}

/** `work` on several items at the same time; the results in the items' order. */
export async function* inOrder<Item, Result>(
  items: Iterable<Item>,
  work: (item: Item) => Promise<Result>,
  atOnce: number,
): AsyncGenerator<Result> {
  const running: Promise<Result>[] = []
  for (const item of items) {
    const result = work(item)
    // Whoever waits for an earlier one hears of a failure in its turn.
    result.catch(() => {})
    running.push(result)
    if (running.length >= atOnce) yield running.shift() as Promise<Result>
  }
  for (const result of running) yield result
}
