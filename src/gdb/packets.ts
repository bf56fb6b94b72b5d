/** GDB's remote serial protocol as packets: `$data#checksum`, acknowledged by + or -, and 0x03 for an interrupt. */

export interface PacketEvents {
  packet(data: string): void
  interrupt(): void
}

const checksum = (data: string): string => {
  let sum = 0
  for (let i = 0; i < data.length; i++) sum += data.charCodeAt(i)
  return (sum & 0xff).toString(16).padStart(2, '0')
}

/** Bytes as the characters of the same numbers. */
export class Packets {
  readonly #events: PacketEvents
  readonly #write: (text: string) => void
  #text = ''
  #last = ''
  /** The peer wants no acknowledgements. */
  silent = false

  constructor(events: PacketEvents, write: (text: string) => void) {
    this.#events = events
    this.#write = write
  }

  send(data: string): void {
    const escaped = data.replace(/[}$#*]/g, (c) => `}${String.fromCharCode(c.charCodeAt(0) ^ 0x20)}`)
    this.#last = `$${escaped}#${checksum(escaped)}`
    this.#write(this.#last)
  }

  receive(piece: string): void {
    this.#text += piece
    while (this.#text !== '') {
      const first = this.#text[0]
      if (first === '$') {
        const end = this.#text.indexOf('#')
        if (end < 0 || this.#text.length < end + 3) return
        const data = this.#text.slice(1, end)
        const good = this.#text.slice(end + 1, end + 3).toLowerCase() === checksum(data)
        this.#text = this.#text.slice(end + 3)
        if (!this.silent) this.#write(good ? '+' : '-')
        if (good)
          this.#events.packet(data.replace(/\}([^])/g, (_, c: string) => String.fromCharCode(c.charCodeAt(0) ^ 0x20)))
      } else {
        this.#text = this.#text.slice(1)
        if (first === '\x03') this.#events.interrupt()
        else if (first === '-') this.#write(this.#last)
      }
    }
  }
}

export const hexOf = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

export const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from({ length: hex.length >> 1 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16))
