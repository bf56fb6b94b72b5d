/**
 * Writes cpio archives in the "newc" format, which Linux unpacks as its initial RAM file system
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */

export interface CpioEntry {
  /** As stat's st_mode: file type and permissions. */
  mode: number
  /** The content; of a symbolic link its target. */
  bytes?: Uint8Array
  /** Major and minor number of a device. */
  device?: readonly [major: number, minor: number]
}

const encoder = new TextEncoder()
const padding = (length: number): number => -length & 3

/** Paths are absolute; a folder comes before what is in it. */
export function writeCpio(entries: ReadonlyMap<string, CpioEntry>): Uint8Array {
  const members: [name: string, entry: CpioEntry][] = [...entries].map(([path, entry]) => [
    path.replace(/^\/+/, ''),
    entry,
  ])
  members.push(['TRAILER!!!', { mode: 0 }])
  const pieces: Uint8Array[] = []
  let length = 0
  const push = (bytes: Uint8Array) => {
    pieces.push(bytes, new Uint8Array(padding(bytes.length)))
    length += bytes.length + padding(bytes.length)
  }
  for (const [i, [name, { mode, bytes = new Uint8Array(0), device = [0, 0] }]] of members.entries()) {
    if (bytes.length > 0xffffffff) throw new RangeError(`${name}: too large for a cpio archive`)
    const nameBytes = encoder.encode(`${name}\0`)
    const isFolder = (mode & 0o170000) === 0o040000
    const nlink = name === 'TRAILER!!!' ? 1 : isFolder ? 2 : 1
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    const fields = [i + 1, mode, 0, 0, nlink, 0, bytes.length, 0, 0, device[0], device[1], nameBytes.length, 0]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
    push(concat([encoder.encode(header), nameBytes]))
    push(bytes)
  }
  return concat(pieces, length)
}

export function concat(
  pieces: readonly Uint8Array[],
  length = pieces.reduce((sum, piece) => sum + piece.length, 0),
): Uint8Array {
  const result = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    result.set(piece, at)
    at += piece.length
  }
  return result
}
