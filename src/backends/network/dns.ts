/** The name server of a network without a way out: it knows the gateway and itself; no other name exists (RFC 1035). */
import { viewOf } from '../../devices/net/bytes.ts'
import type { Ipv4, Plan } from './addresses.ts'

export const DNS_PORT = 53

const HEADER = 12
const TYPE_A = 1
const TYPE_ANY = 255
const CLASS_IN = 1
const TTL = 3600
const RESPONSE_AUTHORITATIVE = 0x8400
const RECURSION_DESIRED = 0x0100
const RECURSION_AVAILABLE = 0x0080
const Code = { OK: 0, FORMAT: 1, NO_SUCH_NAME: 3, NOT_IMPLEMENTED: 4 } as const

export class NameServer {
  readonly #names: ReadonlyMap<string, Ipv4>

  constructor({ gateway, nameServer }: Plan) {
    this.#names = new Map([
      ['gateway', gateway],
      ['dns', nameServer],
    ])
  }

  /** The answer to a query; undefined: it is none. */
  answer(query: Uint8Array): Uint8Array | undefined {
    if (query.length < HEADER) return undefined
    const view = viewOf(query)
    const flags = view.getUint16(2)
    if (flags & 0x8000) return undefined
    const question = (flags & 0x7800) === 0 && view.getUint16(4) === 1 ? parseQuestion(query) : undefined
    const address = question && this.#names.get(question.name)
    const wanted = question?.class === CLASS_IN && (question.type === TYPE_A || question.type === TYPE_ANY)
    const code = flags & 0x7800 ? Code.NOT_IMPLEMENTED : !question ? Code.FORMAT : address ? Code.OK : Code.NO_SUCH_NAME
    const answer =
      address && wanted ? [0xc0, HEADER, 0, TYPE_A, 0, CLASS_IN, 0, 0, TTL >> 8, TTL & 255, 0, 4, ...address] : []
    const end = question?.end ?? HEADER
    const reply = new Uint8Array(end + answer.length)
    reply.set(query.subarray(0, end))
    const out = viewOf(reply)
    out.setUint16(2, RESPONSE_AUTHORITATIVE | RECURSION_AVAILABLE | (flags & RECURSION_DESIRED) | code)
    out.setUint16(4, question ? 1 : 0)
    out.setUint16(6, answer.length > 0 ? 1 : 0)
    out.setUint32(8, 0)
    reply.set(answer, end)
    return reply
  }
}

function parseQuestion(query: Uint8Array): { name: string; type: number; class: number; end: number } | undefined {
  const labels: string[] = []
  let at = HEADER
  for (;;) {
    const length = query[at]
    // A question has no pointers: there is nothing before it.
    if (length === undefined || length > 63 || at + 1 + length > query.length) return undefined
    at++
    if (length === 0) break
    labels.push(String.fromCharCode(...query.subarray(at, at + length)).toLowerCase())
    at += length
  }
  if (at + 4 > query.length) return undefined
  const view = viewOf(query)
  return { name: labels.join('.'), type: view.getUint16(at), class: view.getUint16(at + 2), end: at + 4 }
}
