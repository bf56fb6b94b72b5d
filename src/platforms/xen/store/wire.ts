/**
 * Xenstore's wire protocol: message types, limits and how a message looks in bytes (xs_wire.h, xenstore.txt). Strings
 * are bytes: one character of ours for each.
 */

/** enum xsd_sockmsg_type. */
export const MessageType = {
  CONTROL: 0,
  DIRECTORY: 1,
  READ: 2,
  GET_PERMS: 3,
  WATCH: 4,
  UNWATCH: 5,
  TRANSACTION_START: 6,
  TRANSACTION_END: 7,
  INTRODUCE: 8,
  RELEASE: 9,
  GET_DOMAIN_PATH: 10,
  WRITE: 11,
  MKDIR: 12,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
  IS_DOMAIN_INTRODUCED: 17,
  RESUME: 18,
  SET_TARGET: 19,
  RESET_WATCHES: 21,
  DIRECTORY_PART: 22,
} as const

export const HEADER_SIZE = 16
export const PAYLOAD_MAX = 4096
/** Of a path, counted without `/local/domain/<id>/`. */
export const PATH_MAX = 2048

/** Those of xsd_errors that a server answers. */
export type StoreErrno =
  | 'EINVAL'
  | 'EACCES'
  | 'EEXIST'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'EIO'
  | 'EBUSY'
  | 'ENOSYS'
  | 'EAGAIN'
  | 'E2BIG'
  | 'EPERM'

/** A request that cannot be done; whoever asked gets the errno as its answer. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly errno: StoreErrno

  constructor(errno: StoreErrno) {
    super(errno)
    this.errno = errno
  }
}

export interface Message {
  readonly type: number
  readonly request: number
  readonly transaction: number
  readonly payload: Uint8Array
}

export function encodeMessage({ type, request, transaction, payload }: Message): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + payload.length)
  const view = new DataView(bytes.buffer)
  for (const [i, word] of [type, request, transaction, payload.length].entries()) view.setUint32(4 * i, word, true)
  bytes.set(payload, HEADER_SIZE)
  return bytes
}

export function toBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i)
  return bytes
}

export function toText(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

/** The strings in a payload that end with a NUL; what follows the last one is none. */
export function strings(payload: string): string[] {
  const parts = payload.split('\0')
  parts.pop()
  return parts
}

/** The payload's only string. */
export function onlyString(payload: string): string {
  if (payload.indexOf('\0') !== payload.length - 1 || payload === '') throw new StoreError('EINVAL')
  return payload.slice(0, -1)
}

/** A number as C's atoi reads it, unsigned. */
export function atoi(text: string): number {
  const digits = /^[ \t\n\v\f\r]*([+-]?\d+)/.exec(text)?.[1]
  return digits === undefined ? 0 : Number(BigInt.asUintN(32, BigInt(digits)))
}
