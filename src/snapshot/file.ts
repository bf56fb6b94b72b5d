/**
 * A snapshot is read: all of its bytes are looked at and checked before a machine goes on, but the memory that may wait
 * is unpacked only when somebody asks for it.
 */
import { decode } from 'cborg/extended'
import { crc32 } from '../checksum.ts'
import { compression, type Compression } from './compression.ts'
import { SnapshotError } from './error.ts'
import {
  CHUNK_HEAD,
  FORMAT,
  type Identity,
  inOrder,
  Kind,
  MAGIC,
  numbers,
  PAGE,
  type SnapshotHeader,
  type StateChunk,
} from './format.ts'
import type { Saved } from './stateful.ts'

const LONGEST_HEADER = 1 << 20
const LONGEST_CHUNK = 256 << 20
/** Chunks that are unpacked at the same time. */
const AT_ONCE = 4

export interface OpenSnapshot {
  readonly header: SnapshotHeader
  readonly state: Saved
  /**
   * Hand over all pages by their numbers in the core's memory; must be called once. `later` takes those that need not be
   * unpacked yet; its `unpack` does it while the caller waits.
   */
  readonly pages: (
    place: (pages: readonly number[], bytes: Uint8Array) => void,
    later: (pages: readonly number[], unpack: () => Uint8Array) => void,
  ) => Promise<void>
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
  const packer = compression(header.compression)
  if (!packer) throw new SnapshotError(`${name} is packed as ${header.compression}, which cannot be unpacked here`)

  const chunks: PackedChunk[] = []
  for (;;) {
    const chunk = await reader.chunk()
    chunks.push(chunk)
    if (chunk.kind === Kind.END) break
  }
  const head = chunks.shift() as PackedChunk
  if (head.kind !== Kind.STATE) throw damaged('its state is missing')
  const { header: again, state } = decodeState(await unpack(packer, head, damaged), damaged)
  if (again !== text) throw damaged('its header was changed')
  const end = chunks.pop() as PackedChunk
  const [count] = numbers(await unpack(packer, end, damaged))
  if (chunks.reduce((sum, { pages }) => sum + pages.length, 0) !== count) throw damaged('pages are missing')
  if (chunks.some(({ kind }) => kind !== Kind.MEMORY && kind !== Kind.LATER)) throw damaged('an unknown chunk')
  return { header, state, pages: (place, later) => handOver(packer, chunks, damaged, place, later) }
}

async function handOver(
  packer: Compression,
  chunks: readonly PackedChunk[],
  damaged: (what: string) => Error,
  place: Parameters<OpenSnapshot['pages']>[0],
  later: Parameters<OpenSnapshot['pages']>[1],
): Promise<void> {
  const { unpackNow } = packer
  const waits = ({ kind }: PackedChunk) => unpackNow !== undefined && kind === Kind.LATER
  const now = chunks.filter((chunk) => !waits(chunk))
  const unpacked = inOrder(
    now,
    async (chunk) => ({ pages: chunk.pages, bytes: await unpack(packer, chunk, damaged) }),
    AT_ONCE,
  )
  for await (const { pages, bytes } of unpacked) place(pages, bytes)
  if (unpackNow)
    for (const chunk of chunks.filter(waits)) later(chunk.pages, () => unpackNow(chunk.packed, chunk.length))
}

async function unpack(
  packer: Compression,
  { packed, length, pages, kind }: PackedChunk,
  damaged: (what: string) => Error,
): Promise<Uint8Array> {
  const bytes = await packer.unpack(packed, length).catch(() => undefined)
  const expected = kind === Kind.MEMORY || kind === Kind.LATER ? pages.length * PAGE : length
  if (bytes?.length !== length || length !== expected) throw damaged('a chunk has the wrong length')
  return bytes
}

function decodeState(bytes: Uint8Array, damaged: (what: string) => Error): StateChunk {
  try {
    return decode(bytes) as StateChunk
  } catch {
    throw damaged('its state cannot be read')
  }
}

interface PackedChunk {
  readonly kind: number
  readonly pages: readonly number[]
  readonly packed: Uint8Array<ArrayBuffer>
  /** Unpacked. */
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
    const now = this.#here(length)
    if (now) return now
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
    const whole = new Uint8Array(length)
    let at = 0
    for (const part of parts) {
      whole.set(part, at)
      at += part.length
    }
    return whole
  }

  #here(length: number): Uint8Array<ArrayBuffer> | undefined {
    if (this.#rest.length < length) return undefined
    const part = this.#rest.subarray(0, length)
    this.#rest = this.#rest.subarray(length)
    return part
  }

  async chunk(): Promise<PackedChunk> {
    const damaged = (what: string) => new SnapshotError(`${this.#name} is damaged: ${what}`)
    const head = await this.take(CHUNK_HEAD)
    const [kind = 0, packed = 0, length = 0, count = 0] = numbers(head)
    if (packed > LONGEST_CHUNK || length > LONGEST_CHUNK || count > LONGEST_CHUNK / PAGE)
      throw damaged('a chunk is too long')
    const body = await this.take(4 * count + packed)
    const [checksum] = numbers(await this.take(4))
    if (crc32(body, crc32(head)) !== checksum) throw damaged('a checksum is wrong')
    return {
      kind,
      pages: numbers(body.subarray(0, 4 * count)),
      packed: body.subarray(4 * count),
      length,
    }
  }
}
