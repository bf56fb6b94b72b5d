/** As much of GDB's remote serial protocol as stopping, going on and QEMU's monitor need. */
import { connect } from 'node:net'
import type { Socket } from 'node:net'

export class Gdb {
  readonly #socket: Socket
  readonly #replies: ((packet: string) => void)[] = []
  #text = ''

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1').on('data', (piece: string) => this.#receive(piece))
  }

  /** Connects to QEMU's `-gdb unix:PATH,server=on,wait=off` as soon as it is there. */
  static async connect(path: string): Promise<Gdb> {
    for (let attempt = 0; ; attempt++) {
      const socket = connect(path)
      const failed = await new Promise<Error | undefined>((resolve) => {
        socket.once('connect', () => resolve(undefined))
        socket.once('error', resolve)
      })
      if (!failed) return new Gdb(socket)
      if (attempt === 100) throw failed
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  #receive(piece: string): void {
    this.#text += piece
    for (;;) {
      const packet = /\$([^#]*)#../.exec(this.#text)
      if (!packet) return
      this.#text = this.#text.slice(packet.index + packet[0].length)
      this.#socket.write('+')
      // Output of the monitor comes before its reply.
      if (!/^O[0-9a-f]/.test(packet[1]!)) this.#replies.shift()?.(packet[1]!)
    }
  }

  #reply(): Promise<string> {
    return new Promise((resolve) => this.#replies.push(resolve))
  }

  command(packet: string): Promise<string> {
    const sum = [...packet].reduce((total, letter) => total + letter.charCodeAt(0), 0) & 0xff
    this.#socket.write(`$${packet}#${sum.toString(16).padStart(2, '0')}`)
    return this.#reply()
  }

  /** Let the machine run; the promise is for the moment when it stops. */
  goOn(): Promise<string> {
    return this.command('c')
  }

  /** Stop it; whoever called `goOn` gets to know. */
  interrupt(): void {
    this.#socket.write('\x03')
  }

  monitor(command: string): Promise<string> {
    return this.command(`qRcmd,${Buffer.from(command).toString('hex')}`)
  }

  /** RIP of a machine that stands still. */
  async rip(): Promise<bigint> {
    const registers = Buffer.from(await this.command('g'), 'hex')
    return registers.readBigUInt64LE(16 * 8)
  }

  close(): void {
    this.#socket.destroy()
  }
}
