/**
 * Requests in text that a guest sends through a message channel (open-vm-tools, RPCI): `1 ` and an answer, or `0 ` and
 * a reason.
 */
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'

const LIMIT = 1 << 20

export class Rpc implements Stateful {
  readonly #report: (lines: readonly string[]) => void
  readonly #info = new Map<string, string>()
  #size = 0

  constructor(report: (lines: readonly string[]) => void) {
    this.#report = report
  }

  transfer(state: Transfer): void {
    state.map('info', this.#info)
    this.#size = state.field('size', this.#size)
  }

  answer(request: string): string {
    const [command, rest] = split(request)
    if (command === 'log') {
      this.#report([`log: ${printable(rest)}`])
      return '1 '
    }
    if (command === 'info-get' && rest.startsWith('guestinfo.')) {
      const value = this.#info.get(rest)
      return value === undefined ? '0 No value found' : `1 ${value}`
    }
    if (command === 'info-set' && rest.startsWith('guestinfo.')) return this.#set(...split(rest))
    return '0 Unknown command'
  }

  /** All keys and values together are limited (VMware: tools.setInfo.sizeLimit). */
  #set(key: string, value: string): string {
    const old = this.#info.get(key)
    const size = this.#size + value.length + (old === undefined ? key.length : -old.length)
    if (size > LIMIT) return '0 Size limit exceeded'
    this.#size = size
    this.#info.set(key, value)
    return '1 '
  }
}

function split(text: string): [first: string, rest: string] {
  const at = text.indexOf(' ')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

const printable = (text: string) =>
  [...text.trimEnd()].map((c) => (c < ' ' || (c >= '\x7f' && c < '\xa0') ? ' ' : c)).join('')
