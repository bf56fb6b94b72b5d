/**
 * Where a kernel calls its operations, and what has become of each call: kernels replace calls by what they end up
 * doing. Sites are listed in .parainstructions (2.6.20 to 6.6), since then only among the alternatives
 * (.altinstructions); in the image as it was built a site is an indirect CALL or JMP through the table.
 */
import { interpreter } from '#processor'
import { Disassembler } from '../cpu/disassemble/disassembler.ts'
import { Mode } from '../cpu/layout.ts'
import type { GuestMemory } from '../symbols/guest.ts'
import type { Slot } from './tables.ts'

interface Site {
  readonly address: bigint
  readonly length: number
}

/** For each slot what its call sites are now, and how many are so. */
export function patchedSites(
  slots: readonly Slot[],
  image: GuestMemory,
  memory: GuestMemory,
): Map<Slot, Map<string, number>> {
  const reader = new SiteReader(memory)
  const byAddress = new Map(slots.map((slot) => [slot.address, slot]))
  const result = new Map<Slot, Map<string, number>>()
  const discarded = ranges(memory)
  for (const site of sites(image)) {
    // What was only needed to boot is something else by now.
    if (discarded.some(([from, to]) => site.address >= from && site.address < to)) continue
    const target = originalTarget(image, site)
    const slot = target === undefined ? undefined : byAddress.get(target)
    const text = slot && reader.text(site, slot.functions)
    if (!slot || text === undefined) continue
    const counts = result.get(slot) ?? new Map<string, number>()
    counts.set(text, (counts.get(text) ?? 0) + 1)
    result.set(slot, counts)
  }
  return result
}

function ranges({ symbols }: GuestMemory): [from: bigint, to: bigint][] {
  const names = [
    ['__init_begin', '__init_end'],
    ['_sinittext', '_einittext'],
  ] as const
  return names.flatMap(([from, to]) => {
    const [start, end] = [symbols.address(from), symbols.address(to)]
    return start === undefined || end === undefined ? [] : [[start, end] as [bigint, bigint]]
  })
}

function* sites(image: GuestMemory): Generator<Site> {
  const { symbols, wordSize } = image
  const seen = new Set<bigint>()
  const once = function* (site: Site) {
    if (!seen.has(site.address)) yield site
    seen.add(site.address)
  }
  const table = (from: string, to: string) => {
    const [start, end] = [symbols.address(from), symbols.address(to)]
    return start === undefined || end === undefined || end <= start
      ? undefined
      : { start, view: image.view(start, Number(end - start)) }
  }
  const recorded = table('__parainstructions', '__parainstructions_end')
  if (recorded) {
    const { view } = recorded
    // A word, two bytes of which the second is the length, and padding or clobbers.
    const size = 2 * wordSize
    for (let at = 0; at + size <= view.byteLength; at += size) {
      const address = wordSize === 8 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true))
      yield* once({ address, length: view.getUint8(at + wordSize + 1) })
    }
    return
  }
  const alternatives = table('__alt_instructions', '__alt_instructions_end')
  if (!alternatives) return
  const { view, start } = alternatives
  // struct alt_instr: offsets of both texts from themselves, flags of 4 bytes, both lengths; packed.
  for (let at = 0; at + ALTERNATIVE <= view.byteLength; at += ALTERNATIVE) {
    const address = BigInt.asUintN(64, start + BigInt(at + view.getInt32(at, true)))
    yield* once({ address, length: view.getUint8(at + 12) })
  }
}

const ALTERNATIVE = 14
const INDIRECT_CALL = 0x15
const INDIRECT_JUMP = 0x25

/** The table's slot that the site calls through: `FF /2` or `FF /4` with a displacement of 32 bits. */
function originalTarget(image: GuestMemory, { address, length }: Site): bigint | undefined {
  const code = image.bytes(address, length)
  if (!code) return undefined
  const view = new DataView(code.buffer, code.byteOffset, code.length)
  for (let at = 0; at + 6 <= length; at++) {
    if (code[at] !== 0xff || (code[at + 1] !== INDIRECT_CALL && code[at + 1] !== INDIRECT_JUMP)) continue
    if (image.wordSize === 4) return BigInt(view.getUint32(at + 2, true))
    return BigInt.asUintN(64, address + BigInt(at + 6 + view.getInt32(at + 2, true)))
  }
  return undefined
}

class SiteReader {
  readonly #memory: GuestMemory
  readonly #disassembler = new Disassembler(interpreter())

  constructor(memory: GuestMemory) {
    this.#memory = memory
  }

  /** The site's code as it is now, without padding: `direct call`, `inline mov cr3,rdi`, `nop`. */
  text(site: Site, held: readonly string[]): string | undefined {
    const code = this.#code(site)
    if (code === undefined) return undefined
    if (code === '') return 'nop'
    const [kind, target] = code.split(' ', 2) as [string, string]
    if (kind !== 'call' && kind !== 'jmp') return `inline ${code}`
    if (target.includes('[')) return `indirect ${kind}`
    const direct = kind === 'call' ? 'direct call' : 'direct jump'
    return held.includes(target) ? direct : `${direct} of ${target}`
  }

  #code({ address, length }: Site): string | undefined {
    const code = this.#memory.bytes(address, length)
    if (!code) return undefined
    const mode = this.#memory.wordSize === 8 ? Mode.LONG : Mode.D | Mode.B
    const texts: string[] = []
    for (let at = 0; at < length; ) {
      const place = address + BigInt(at)
      const { text, length: size } = this.#disassembler.instruction(code, at, place, mode)
      at += size
      if (!/\bnop\b|^xchg +(\w+),\1$|^lea +(\w+),\[\2(\+(riz|eiz)\*1)?\+0x0\]$/.test(text))
        texts.push(this.#named(text))
    }
    return texts.join('; ')
  }

  /** Calls by the function's name. */
  #named(text: string): string {
    const plain = text.replace(/ +/g, ' ')
    const direct = /^(call|jmp) 0x([\da-f]+)$/.exec(plain)
    if (!direct) return plain.replace(/^(call|jmp) .*\[.*/, '$1 [table]')
    const [name] = this.#memory.symbols.at(BigInt(`0x${direct[2]}`)).filter((each) => !each.startsWith('__pfx_'))
    return `${direct[1]} ${name ?? `0x${direct[2]}`}`
  }
}
