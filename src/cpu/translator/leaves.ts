/**
 * Small functions that call nobody: a region has a copy of such a callee for each call of it, whose return is a jump
 * back that is verified as any computed jump. The call still pushes its return address, so nothing else changes.
 */
import { pageOf, type Instruction, type Outline } from './blocks.ts'

type Known = Instruction<Outline>

/** Instructions of a callee at most, and of all copies in a region. */
const MOST = 24
const MOST_TOGETHER = 240

export interface Leaf {
  readonly entry: number
  /** Places where its blocks begin. */
  readonly leaders: ReadonlySet<number>
  /** Those of its instructions. */
  readonly places: ReadonlySet<number>
}

/** What an instruction does to control: see graph.ts. */
interface Flow {
  readonly target: number | undefined
  readonly call: number | 'computed' | undefined
}

export class Leaves {
  readonly #at: (place: number) => Known | undefined
  readonly #flow: (i: Known) => Flow
  readonly #found = new Map<number, Leaf | undefined>()
  readonly #inlined = new Map<Known, Leaf>()
  #room = MOST_TOGETHER

  /** `at`: the instruction at a place, if a region can have it. */
  constructor(at: (place: number) => Known | undefined, flow: (i: Known) => Flow) {
    this.#at = at
    this.#flow = flow
  }

  /** A call's callee becomes part of the region, if it is a small leaf and there is room. */
  consider(call: Known, target: number): void {
    if (!this.#found.has(target)) this.#found.set(target, this.#leafAt(target))
    const leaf = this.#found.get(target)
    if (!leaf || leaf.places.size > this.#room) return
    this.#room -= leaf.places.size
    this.#inlined.set(call, leaf)
  }

  of(call: Known): Leaf | undefined {
    return this.#inlined.get(call)
  }

  /** Those that become part of the region. */
  all(): IterableIterator<Leaf> {
    return this.#inlined.values()
  }

  #leafAt(entry: number): Leaf | undefined {
    const leaders = new Set([entry])
    const seen = new Set<number>()
    const work = [entry]
    for (let place = work.pop(); place !== undefined; place = work.pop()) {
      if (seen.has(place)) continue
      seen.add(place)
      const i = this.#at(place)
      if (!i || seen.size > MOST) return undefined
      const { target, call } = this.#flow(i)
      if (call !== undefined || i.decoded.calls) return undefined
      if (i.decoded.ends && target === undefined && !i.decoded.returns) return undefined
      const next = i.place + i.length
      if (target !== undefined) {
        leaders.add(target).add(next)
        work.push(target)
      }
      // Going into another page is an edge, which looks whether it is still there.
      if (pageOf(next) !== pageOf(i.place)) leaders.add(next)
      if (!i.decoded.ends) work.push(next)
    }
    return { entry, leaders, places: seen }
  }
}
