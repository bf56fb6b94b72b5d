/** Debian's xenstored without Xen: its libraries are stub.c, the guest's ring is a file. */
import { execFileSync, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { encodeMessage, HEADER_SIZE, MessageType, toBytes, toText } from '../../src/platforms/xen/store/wire.ts'
import type { Peer, Received } from './play.ts'

const XENSTORED = '/usr/lib/xen-4.17/bin/xenstored'
const RING = 1024

/** Messages out of a stream of bytes. */
class Messages {
  #rest: Buffer = Buffer.alloc(0)

  take(bytes: Uint8Array): Received[] {
    this.#rest = Buffer.concat([this.#rest, bytes])
    const messages: Received[] = []
    for (;;) {
      const length = this.#rest.length < HEADER_SIZE ? Infinity : HEADER_SIZE + this.#rest.readUInt32LE(12)
      if (this.#rest.length < length) return messages
      messages.push({
        type: this.#rest.readUInt32LE(0),
        request: this.#rest.readUInt32LE(4),
        transaction: this.#rest.readUInt32LE(8),
        payload: toText(this.#rest.subarray(HEADER_SIZE, length)),
      })
      this.#rest = this.#rest.subarray(length)
    }
  }
}

/** Runs `use` with a fresh daemon. */
export async function withXenstored<Result>(use: (peer: Peer) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'paravirt-'))
  const path = (name: string) => join(folder, name)
  execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-o', path('stub.so'), join(import.meta.dirname, 'stub.c'), '-ldl'])
  writeFileSync(path('port'), '1')
  for (const ring of ['ring0', 'ring1']) writeFileSync(path(ring), new Uint8Array(4096))
  execFileSync('mkfifo', [path('events')])
  const daemon = spawn(XENSTORED, ['-N', '-F', path('pid')], {
    env: {
      ...process.env,
      LD_PRELOAD: path('stub.so'),
      STUB: folder,
      XENSTORED_RUNDIR: folder,
      XENSTORED_ROOTDIR: folder,
    },
    stdio: 'ignore',
  })
  const ring = openSync(path('ring1'), 'r+')
  const events = openSync(path('events'), 'r+')
  try {
    const peer = await talk(path('socket'), ring, events)
    return await use(peer)
  } finally {
    daemon.kill()
    closeSync(ring)
    closeSync(events)
    rmSync(folder, { recursive: true })
  }
}

async function talk(socketPath: string, ring: number, events: number): Promise<Peer> {
  const socket = await connected(socketPath)
  const fromSocket = new Messages()
  const arrived: Received[] = []
  let wake = () => {}
  socket.on('data', (bytes: Buffer) => {
    arrived.push(...fromSocket.take(bytes))
    wake()
  })
  const word = Buffer.alloc(4)
  const get = (offset: number) => {
    readSync(ring, word, 0, 4, offset)
    return word.readUInt32LE()
  }
  const set = (offset: number, value: number) => {
    word.writeUInt32LE(value >>> 0)
    writeSync(ring, word, 0, 4, offset)
  }
  const notify = () => writeSync(events, Uint8Array.of(11, 0, 0, 0))
  const fromRing = new Messages()
  const receiveHost = async () => {
    while (arrived.length === 0) await new Promise<void>((resolve) => (wake = resolve))
    return arrived.splice(0)
  }
  const peer: Peer = {
    send: async (client, message) => {
      const bytes = encodeMessage({ ...message, payload: toBytes(message.payload) })
      if (client === 'host') {
        socket.write(bytes)
        return
      }
      for (let at = 0; at < bytes.length; ) {
        const producer = get(2052)
        const room = Math.min(RING - ((producer - get(2048)) >>> 0), RING - (producer & (RING - 1)))
        const count = Math.min(room, bytes.length - at)
        writeSync(ring, bytes, at, count, producer & (RING - 1))
        set(2052, producer + count)
        at += count
        notify()
        if (count === 0) await sleep(1)
      }
    },
    receive: async (client) => {
      if (client === 'host') return receiveHost()
      for (;;) {
        const consumer = get(2056)
        const count = Math.min((get(2060) - consumer) >>> 0, RING - (consumer & (RING - 1)))
        if (count === 0) {
          await sleep(0.1)
          continue
        }
        const bytes = Buffer.alloc(count)
        readSync(ring, bytes, 0, count, RING + (consumer & (RING - 1)))
        set(2056, consumer + count)
        notify()
        const messages = fromRing.take(bytes)
        if (messages.length > 0) return messages
      }
    },
  }
  await peer.send('host', { type: MessageType.INTRODUCE, request: 0, transaction: 0, payload: '1\x001\x005\0' })
  const [answer] = await receiveHost()
  if (answer?.type !== MessageType.INTRODUCE) throw new Error(`xenstored does not take the domain: ${answer?.payload}`)
  return peer
}

async function connected(path: string): Promise<ReturnType<typeof connect>> {
  for (let patience = 100; ; patience--) {
    const socket = connect(path)
    const done = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true))
      socket.once('error', () => resolve(false))
    })
    if (done) return socket
    if (patience === 0) throw new Error('xenstored does not listen')
    await sleep(50)
  }
}
