/** A snapshot is written in a stream: chunks are packed several at a time. */
import { encode } from 'cborg/extended'
import { crc32 } from '../checksum.ts'
import { packer } from './compression.ts'
import { FORMAT, type Identity, inOrder, Kind, MAGIC, PAGE, type Page, type SnapshotHeader, words } from './format.ts'
import type { Saved } from './stateful.ts'

/** Pages in a chunk: what is used at once comes in large ones, what is touched by and by in small ones. */
const AT_FIRST = 64
const BY_AND_BY = 8
/** Chunks that are packed at the same time. */
const AT_ONCE = 8

export interface Memory {
  /** Pages that a machine needs before it can go on. */
  readonly first: Iterable<Page>
  /** Pages of RAM that may come when they are touched. */
  readonly later: Iterable<Page>
}

interface Chunk {
  readonly kind: number
  readonly pages: readonly number[]
  readonly raw: Uint8Array<ArrayBuffer>
}

export async function* writeSnapshot(
  identity: Identity,
  about: SnapshotHeader['about'],
  state: Saved,
  memory: Memory,
): AsyncGenerator<Uint8Array> {
  const header: SnapshotHeader = {
    format: FORMAT,
    ...identity,
    compression: packer.name,
    created: new Date().toISOString(),
    about,
  }
  const text = JSON.stringify(header)
  const encoded = new TextEncoder().encode(text)
  yield new TextEncoder().encode(MAGIC)
  yield words([encoded.length])
  yield encoded
  let count = 0
  function* chunks(): Generator<Chunk> {
    yield { kind: Kind.STATE, pages: [], raw: Uint8Array.from(encode({ header: text, state })) }
    for (const [kind, pages, size] of [
      [Kind.MEMORY, memory.first, AT_FIRST],
      [Kind.LATER, memory.later, BY_AND_BY],
    ] as const)
      for (const group of inGroups(pages, size)) {
        count += group.length
        yield { kind, pages: group.map(({ number }) => number), raw: joined(group) }
      }
    yield { kind: Kind.END, pages: [], raw: words([count]) }
  }
  const packed = inOrder(
    chunks(),
    async ({ kind, pages, raw }) => {
      const bytes = await packer.pack(raw)
      return { head: words([kind, bytes.length, raw.length, pages.length, ...pages]), bytes }
    },
    AT_ONCE,
  )
  for await (const { head, bytes } of packed) {
    yield head
    yield bytes
    yield words([crc32(bytes, crc32(head))])
  }
}

function* inGroups(pages: Iterable<Page>, size: number): Generator<Page[]> {
  let group: Page[] = []
  for (const page of pages) {
    group.push(page)
    if (group.length < size) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}

function joined(group: readonly Page[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(group.length * PAGE)
  for (const [i, page] of group.entries()) bytes.set(page.bytes, i * PAGE)
  return bytes
}
