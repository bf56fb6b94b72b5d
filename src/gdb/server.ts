/** Waits for GDB on a TCP port and gives it the machine; one debugger at a time, any number one after another. */
import { createServer, type Server, type Socket } from 'node:net'
import { InputError } from '../errors.ts'
import { type Debugged, Session } from './session.ts'

export interface GdbOptions {
  readonly machine: Debugged
  readonly bits: 64 | 32
  readonly onKill: () => void
  readonly requests: () => readonly string[]
}

export interface GdbAddress {
  readonly host: string
  readonly port: number
}

/** `:1234`, `1234` or `HOST:1234`. Only this machine can connect unless a host is given. */
export function parseGdbAddress(text: string): GdbAddress {
  const match = /^(?:(?:tcp:)?(?:\[([\da-f:]+)\]|([^:]*)):)?(\d{1,5})$/i.exec(text)
  const port = Number(match?.[3])
  if (!match || port > 65535) throw new InputError(`--gdb '${text}' is no port; write :1234 or HOST:1234`)
  return { host: match[1] ?? (match[2] || '127.0.0.1'), port }
}

export class GdbServer implements Disposable {
  readonly #server: Server
  readonly #options: GdbOptions
  #session: Session | undefined
  #socket: Socket | undefined
  #connected: (() => void) | undefined

  private constructor(options: GdbOptions) {
    this.#options = options
    this.#server = createServer({ noDelay: true }, (socket) => void this.#connect(socket))
  }

  /** Throws InputError if the port cannot be had. Port 0 is any. */
  static async listen({ host, port }: GdbAddress, options: GdbOptions): Promise<GdbServer> {
    const server = new GdbServer(options)
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', (error) => reject(new InputError(`--gdb ${host}:${port}: ${error.message}`)))
      server.#server.listen(port, host, resolve)
    })
    return server
  }

  get port(): number {
    const address = this.#server.address()
    return address !== null && typeof address === 'object' ? address.port : 0
  }

  /** Settles when a debugger is there. */
  connected(): Promise<void> {
    return new Promise((resolve) => (this.#connected = resolve))
  }

  async #connect(socket: Socket): Promise<void> {
    if (this.#session) return void socket.destroy()
    this.#socket = socket
    socket.setEncoding('latin1')
    // What it says before the machine is at rest is kept by the socket.
    const { machine } = this.#options
    await machine.pause()
    const session = new Session({
      ...this.#options,
      write: (text) => socket.write(text, 'latin1'),
      onDetach: () => socket.end(),
    })
    this.#session = session
    this.#connected?.()
    socket.on('data', (piece: string) => session.receive(piece))
    socket.on('error', () => {})
    socket.on('close', () => {
      session.close()
      this.#session = undefined
      this.#socket = undefined
    })
  }

  /** The machine has ended: tell the debugger, and listen no more. */
  end(code: number): void {
    this.#session?.end(code)
    this.#socket?.end()
    this.#server.close()
  }

  [Symbol.dispose](): void {
    this.#socket?.destroy()
    this.#server.close()
  }
}
