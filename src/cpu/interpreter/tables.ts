/** The interpreter's tables as text, to be kept beside its module. */
import type { Interpreter } from './build.ts'

interface Text {
  readonly handlers: string
  readonly ends: string
  readonly traits: string
  readonly origins: string
  readonly pairs: [number, number][]
  readonly names: string[]
}

export function tablesToText({ handlers, ends, traits, origins, pairs, names }: Interpreter): string {
  const text: Text = {
    handlers: toBase64(new Uint8Array(handlers.buffer)),
    ends: toBase64(ends),
    traits: toBase64(traits),
    origins: toBase64(new Uint8Array(origins.buffer)),
    pairs: [...pairs],
    names,
  }
  return JSON.stringify(text)
}

export function interpreterFrom(bytes: Uint8Array<ArrayBuffer>, tables: string): Interpreter {
  const { handlers, ends, traits, origins, pairs, names } = JSON.parse(tables) as Text
  return {
    bytes,
    handlers: new Uint16Array(fromBase64(handlers).buffer),
    ends: fromBase64(ends),
    traits: fromBase64(traits),
    origins: new Uint32Array(fromBase64(origins).buffer),
    pairs: new Map(pairs),
    names,
  }
}

function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  // Node 24 has no such method yet.
  const own = (Uint8Array as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }).fromBase64
  if (own) return own.call(Uint8Array, text)
  const characters = atob(text)
  const bytes = new Uint8Array(characters.length)
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i)
  return bytes
}
