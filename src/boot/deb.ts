/**
 * Files out of a Debian package: an ar archive whose member data.tar.* is the tree to install. It is read as a
 * stream, so that a file near the beginning (the kernel) costs little. See deb(5), ar(5), tar(5).
 */
import { Readable } from 'node:stream'
import { BootError } from './error.ts'
import type { Compression } from './formats.ts'
import { unpackStream } from './unpack.ts'

export interface DebFile {
  /** Absolute, as installed. */
  path: string
  /** As stat's st_mode: file type and permissions. */
  mode: number
  /** The content; of a symbolic link its target, of a hard link the other file's path. */
  bytes: Uint8Array
  /** A hard link to the path that `bytes` holds. */
  hardLink: boolean
}

export const isDeb = (bytes: Uint8Array): boolean =>
  new TextDecoder('latin1').decode(bytes.subarray(0, 8)) === '!<arch>\n'

/** The kernel of a linux-image package. */
export async function kernelInDeb(deb: Uint8Array, name: string): Promise<Uint8Array> {
  for await (const file of debFiles(deb, name)) if (/^\/boot\/vmlinu[zx]-/.test(file.path)) return file.bytes
  throw new BootError(`${name}: a package without a kernel; give a linux-image package with a version in its name`)
}

/** All files, folders and links of the package, in its order. */
export async function* debFiles(deb: Uint8Array, name: string): AsyncGenerator<DebFile> {
  try {
    yield* tarFiles(dataOf(deb))
  } catch (error) {
    throw new BootError(`${name}: damaged package (${(error as Error).message})`)
  }
}

const latin1 = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes)

function dataOf(deb: Uint8Array): AsyncIterable<Uint8Array> {
  for (let at = 8; at + 60 <= deb.length; ) {
    const member = latin1(deb.subarray(at, at + 16)).replace(/\/? *$/, '')
    const size = Number(latin1(deb.subarray(at + 48, at + 58)))
    const data = deb.subarray(at + 60, at + 60 + size)
    if (!(size >= 0) || data.length < size) throw new Error('truncated')
    if (member === 'data.tar') return Readable.from([data])
    const compression = suffixes[/^data\.tar(\..*)$/.exec(member)?.[1] ?? '']
    if (compression) return unpackStream(compression, data)
    at += 60 + size + (size & 1)
  }
  throw new Error('no data.tar in it')
}

const suffixes: Readonly<Record<string, Compression>> = { '.xz': 'xz', '.zst': 'zstd', '.gz': 'gzip', '.lzma': 'lzma' }

const fileTypes: Readonly<Record<string, number>> = {
  '0': 0o100000,
  '\0': 0o100000,
  '1': 0o100000,
  '2': 0o120000,
  '3': 0o020000,
  '4': 0o060000,
  '5': 0o040000,
  '6': 0o010000,
}

async function* tarFiles(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<DebFile> {
  const iterator = pieces[Symbol.asyncIterator]()
  try {
    yield* members(iterator)
    // What follows is padding; the end of the stream tells whether all of it was right.
    while (!(await iterator.next()).done);
  } finally {
    await iterator.return?.()
  }
}

async function* members(iterator: AsyncIterator<Uint8Array>): AsyncGenerator<DebFile> {
  const take = reader(iterator)
  let longName: string | undefined
  let longLink: string | undefined
  for (;;) {
    const header = await take(512)
    if (header.every((byte) => byte === 0)) return
    const field = (from: number, length: number) => latin1(header.subarray(from, from + length)).replace(/\0[^]*$/, '')
    const octal = (from: number, length: number) => {
      const value = Number.parseInt(field(from, length).trim(), 8)
      if (!(value >= 0)) throw new Error('bad tar header')
      return value
    }
    const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0)
    if (sum !== octal(148, 8)) throw new Error('bad tar checksum')
    const size = octal(124, 12)
    const type = field(156, 1) || '0'
    const bytes = await take(size)
    await take(-size & 511)
    if (type === 'L') longName = text(bytes)
    else if (type === 'K') longLink = text(bytes)
    else {
      const kind = fileTypes[type]
      if (kind === undefined) throw new Error(`tar member of unknown type ${type}`)
      const prefix = field(345, 155)
      const path = longName ?? (prefix ? `${prefix}/` : '') + text(header.subarray(0, 100))
      const link = longLink ?? text(header.subarray(157, 257))
      yield {
        path: path.replace(/^\.?\/?/, '/').replace(/(.)\/$/, '$1'),
        mode: kind | octal(100, 8),
        bytes:
          type === '1'
            ? new TextEncoder().encode(link.replace(/^\.?\/?/, '/'))
            : type === '2'
              ? new TextEncoder().encode(link)
              : bytes,
        hardLink: type === '1',
      }
      longName = longLink = undefined
    }
  }
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).replace(/\0[^]*$/, '')

/** Takes exactly so many bytes at a time from a stream of pieces. */
function reader(iterator: AsyncIterator<Uint8Array>): (length: number) => Promise<Uint8Array> {
  let rest: Uint8Array = new Uint8Array(0)
  return async (length) => {
    const result = new Uint8Array(length)
    for (let filled = 0; filled < length; ) {
      if (rest.length === 0) {
        const { done, value } = await iterator.next()
        if (done) throw new Error('truncated')
        rest = value
        continue
      }
      const piece = rest.subarray(0, length - filled)
      result.set(piece, filled)
      filled += piece.length
      rest = rest.subarray(piece.length)
    }
    return result
  }
}
