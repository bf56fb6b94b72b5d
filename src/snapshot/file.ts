/**
 * A snapshot as bytes, written and read in a stream:
 *
 *     "paravirt snapshot\n"  length of the header  header (JSON)  chunks
 *     chunk: kind  packed length  unpacked length  packed bytes            (numbers are u32, little-endian)
 *
 * First comes the chunk of the state (CBOR, the header in it once more), then the memory: in each chunk a number n,
 * n page numbers and n pages, none of them all zero; last the end, which counts the pages. Whoever reads needs nothing
 * but the bytes in order; chunks are packed and unpacked several at a time.
 */
import { decode, encode } from 'cborg/extended'
import { bestCompression, compression, type Compression } from './compression.ts'
import { SnapshotError } from './error.ts'
import type { Plain, Saved } from './stateful.ts'

const MAGIC = 'paravirt snapshot\n'
/** Changes whenever old files cannot be read any more. */
const FORMAT = 1
const PAGE = 4096
const CHUNK_PAGES = 256
const Kind = { STATE: 1, MEMORY: 2, END: 3 } as const
const LONGEST_HEADER = 1 << 20
const LONGEST_CHUNK = 256 << 20
/** Chunks that are packed or unpacked at the same time. */
const AT_ONCE = 4

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

export interface Page {
  /** Number of the page in the core's memory. */
  readonly number: number
  /** 4096 bytes. */
  readonly bytes: Uint8Array
}

export async function* writeSnapshot(
  identity: Identity,
  about: SnapshotHeader['about'],
  state: Saved,
  pages: Iterable<Page>,
): AsyncGenerator<Uint8Array> {
  const name = await bestCompression()
  const packer = (await compression(name)) as Compression
  const header: SnapshotHeader = {
    format: FORMAT,
    ...identity,
    compression: name,
    created: new Date().toISOString(),
    about,
  }
  const text = JSON.stringify(header)
  const bytes = new TextEncoder().encode(text)
  yield new TextEncoder().encode(MAGIC)
  yield words(bytes.length)
  yield bytes
  let count = 0
  function* chunks(): Generator<[kind: number, bytes: Uint8Array<ArrayBuffer>]> {
    yield [Kind.STATE, Uint8Array.from(encode({ header: text, state }))]
    for (const group of inGroups(pages)) {
      count += group.length
      yield [Kind.MEMORY, memoryChunk(group)]
    }
    yield [Kind.END, words(count)]
  }
  const packed = inOrder(chunks(), async ([kind, raw]) => ({
    kind,
    length: raw.length,
    packed: await packer.pack(raw),
  }))
  for await (const chunk of packed) {
    yield words(chunk.kind, chunk.packed.length, chunk.length)
    yield chunk.packed
  }
}

export interface OpenSnapshot {
  readonly header: SnapshotHeader
  readonly state: Saved
  /** Hand over all pages, those with consecutive numbers at once; must be called once. */
  readonly pages: (place: (first: number, bytes: Uint8Array) => void) => Promise<void>
}

/** Throws SnapshotError for what this version cannot restore; `name` is what the user calls it. */
export async function openSnapshot(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  identity: Identity,
  name = 'the snapshot',
): Promise<OpenSnapshot> {
  const reader = new Reader(source, name)
  const damaged = (what: string) => new SnapshotError(`${name} is damaged: ${what}`)
  const magic = new TextDecoder().decode(await reader.take(MAGIC.length).catch(() => new Uint8Array()))
  if (magic !== MAGIC) throw new SnapshotError(`${name} is no snapshot of paravirt's`)
  const [length = 0] = numbers(await reader.take(4))
  if (length > LONGEST_HEADER) throw damaged('its header is too long')
  const text = new TextDecoder().decode(await reader.take(length))
  let header: SnapshotHeader
  try {
    header = JSON.parse(text) as SnapshotHeader
  } catch {
    throw damaged('its header cannot be read')
  }
  if (header.format !== FORMAT || header.version !== identity.version || header.layout !== identity.layout)
    throw new SnapshotError(
      `${name} was taken by another version of paravirt (${header.version}, format ${header.format}, layout ${header.layout}) than ` +
        `this one (${identity.version}, format ${FORMAT}, layout ${identity.layout}): restore it with that version, or take it anew`,
    )
  const packer = await compression(header.compression)
  if (!packer) throw new SnapshotError(`${name} is packed as ${header.compression}, which cannot be unpacked here`)

  const unpack = async ({ kind, packed, length: unpacked }: PackedChunk) => {
    const bytes = await packer.unpack(packed, unpacked).catch(() => undefined)
    if (bytes?.length !== unpacked) throw damaged('a checksum is wrong')
    return { kind, bytes }
  }
  const head = await unpack(await reader.chunk())
  if (head.kind !== Kind.STATE) throw damaged('its state is missing')
  const { header: again, state } = decodeState(head.bytes, damaged)
  if (again !== text) throw damaged('its header was changed')
  return {
    header,
    state,
    pages: async (place) => {
      let count = 0
      for await (const { kind, bytes } of inOrder(reader.chunks(), unpack)) {
        if (kind === Kind.END) {
          if (numbers(bytes)[0] !== count) throw damaged('pages are missing')
          return
        }
        if (kind !== Kind.MEMORY) throw damaged('an unknown chunk')
        const [n = 0] = numbers(bytes.subarray(0, 4))
        if (bytes.length !== 4 + n * (4 + PAGE)) throw damaged('a chunk has the wrong length')
        const pageNumbers = numbers(bytes.subarray(4, 4 + 4 * n))
        const content = bytes.subarray(4 + 4 * n)
        for (let first = 0, end = 1; first < n; first = end++) {
          while (end < n && pageNumbers[end] === (pageNumbers[end - 1] as number) + 1) end++
          place(pageNumbers[first] as number, content.subarray(first * PAGE, end * PAGE))
        }
        count += n
      }
      throw damaged('it ends early')
    },
  }
}

function decodeState(bytes: Uint8Array, damaged: (what: string) => Error): { header: Plain; state: Saved } {
  try {
    return decode(bytes) as { header: string; state: Saved }
  } catch {
    throw damaged('its state cannot be read')
  }
}

function words(...values: number[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(4 * values.length))
  for (const [i, value] of values.entries()) view.setUint32(4 * i, value, true)
  return new Uint8Array(view.buffer)
}

function numbers(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.length >> 2 }, (_, i) => view.getUint32(4 * i, true))
}

function* inGroups(pages: Iterable<Page>): Generator<Page[]> {
  let group: Page[] = []
  for (const page of pages) {
    group.push(page)
    if (group.length < CHUNK_PAGES) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}

function memoryChunk(group: readonly Page[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 + group.length * (4 + PAGE))
  bytes.set(words(group.length, ...group.map(({ number }) => number)))
  for (const [i, page] of group.entries()) bytes.set(page.bytes, 4 + 4 * group.length + i * PAGE)
  return bytes
}

/** `work` on several items at the same time; the results in the items' order. */
async function* inOrder<Item, Result>(
  items: Iterable<Item> | AsyncIterable<Item>,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result> {
  const running: Promise<Result>[] = []
  for await (const item of items) {
    const result = work(item)
    // Whoever waits for an earlier one hears of a failure in its turn.
    result.catch(() => {})
    running.push(result)
    if (running.length >= AT_ONCE) yield running.shift() as Promise<Result>
  }
  for (const result of running) yield result
}

interface PackedChunk {
  readonly kind: number
  readonly packed: Uint8Array<ArrayBuffer>
  readonly length: number
}

/** Pieces of any size as pieces of the size that is wanted. */
class Reader {
  readonly #pieces: AsyncIterator<Uint8Array> | Iterator<Uint8Array>
  readonly #name: string
  #rest = new Uint8Array()

  constructor(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, name: string) {
    this.#pieces = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
    this.#name = name
  }

  async take(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const parts: Uint8Array[] = []
    let missing = length
    for (;;) {
      const part = this.#rest.subarray(0, missing)
      parts.push(part)
      missing -= part.length
      this.#rest = this.#rest.subarray(part.length)
      if (missing === 0) break
      const next = await this.#pieces.next()
      if (next.done === true) throw new SnapshotError(`${this.#name} is damaged: it ends early`)
      this.#rest = next.value as Uint8Array<ArrayBuffer>
    }
    const only = parts.find((part) => part.length === length)
    if (only) return only as Uint8Array<ArrayBuffer>
    const whole = new Uint8Array(length)
    let at = 0
    for (const part of parts) {
      whole.set(part, at)
      at += part.length
    }
    return whole
  }

  async chunk(): Promise<PackedChunk> {
    const [kind = 0, packed = 0, length = 0] = numbers(await this.take(12))
    if (packed > LONGEST_CHUNK || length > LONGEST_CHUNK)
      throw new SnapshotError(`${this.#name} is damaged: a chunk is too long`)
    return { kind, packed: await this.take(packed), length }
  }

  /** Up to the one that is the end. */
  async *chunks(): AsyncGenerator<PackedChunk> {
    for (;;) {
      const chunk = await this.chunk()
      yield chunk
      if (chunk.kind === Kind.END) return
    }
  }
}
