/**
 * Callees that become part of a region: it has a copy of each for each call of it, and of what that calls in turn. The
 * call still pushes its return address, and the return is a jump back that is verified as any computed jump, so nothing
 * else changes, whatever the callee does to its stack. A jump to another function is a call at the end of this one.
 */
import { pageOf, type Instruction, type Outline, type Places } from './blocks.ts'
import { flow } from './flow.ts'

type Known = Instruction<Outline>

/** Instructions of a callee at most, with what it calls: where the call is in a loop, and elsewhere. */
const MOST_IN_LOOP = 200
const MOST = 24
/** Those of all copies in a region, and of all that it has: large functions lose more by copies than their calls cost. */
const MOST_COPIES = 400
const MOST_TOGETHER = 500
/** Calls within calls. */
const MAX_DEPTH = 3

export interface Callee {
  readonly entry: number
  /** Places where its blocks begin. */
  readonly leaders: ReadonlySet<number>
  /** Those of its instructions; all others are left for, as what was never executed when the region is made. */
  readonly places: ReadonlySet<number>
  /** What it calls, by the places of the calls. */
  readonly calls: ReadonlyMap<number, readonly Callee[]>
  /** Instructions with those of all that it calls. */
  readonly size: number
}

/** The instruction at a place, if a region can have it; `cold`: it was never executed. */
type Lookup = (place: number) => Known | 'cold' | undefined

export class Callees {
  readonly #r: Pick<Places, 'word' | 'targets'>
  readonly #at: Lookup
  /** By entry and depth, with the most instructions that it might have. */
  readonly #found = new Map<number, { callee: Callee | undefined; most: number }>()
  readonly #inlined = new Map<number, readonly Callee[]>()
  #room: number

  /** `own`: instructions that the region has without them. */
  constructor(r: Pick<Places, 'word' | 'targets'>, own: number, at: Lookup) {
    this.#r = r
    this.#at = at
    this.#room = Math.min(MOST_COPIES, MOST_TOGETHER - own)
  }

  /** The callees of a call, or of a jump to a function, become part of the region if they are small and there is room. */
  consider(call: Known, targets: readonly number[], inLoop: boolean): void {
    const callees = this.#all(targets, inLoop ? MOST_IN_LOOP : MOST, MAX_DEPTH)
    const size = callees?.reduce((sum, callee) => sum + callee.size, 0) ?? 0
    if (!callees || size > this.#room) return
    this.#room -= size
    this.#inlined.set(call.place, callees)
  }

  /** By the places of the calls. */
  get inlined(): ReadonlyMap<number, readonly Callee[]> {
    return this.#inlined
  }

  /** Places of all that becomes part of the region. */
  places(): Set<number> {
    const places = new Set<number>()
    const add = (calls: ReadonlyMap<number, readonly Callee[]>): void => {
      for (const callee of [...calls.values()].flat()) {
        for (const place of callee.places) places.add(place)
        add(callee.calls)
      }
    }
    add(this.#inlined)
    return places
  }

  #all(targets: readonly number[], most: number, depth: number): Callee[] | undefined {
    const callees: Callee[] = []
    for (const target of targets) {
      const callee = this.#calleeAt(target, most, depth)
      if (!callee || callee.size > most) return undefined
      callees.push(callee)
    }
    return callees.length > 0 ? callees : undefined
  }

  #calleeAt(entry: number, most: number, depth: number): Callee | undefined {
    if (depth === 0) return undefined
    const key = entry * 8 + depth
    const known = this.#found.get(key)
    if (known?.callee ? known.callee.size <= most : known && known.most >= most) return known?.callee
    const callee = this.#makeCallee(entry, most, depth)
    if (callee || !known?.callee) this.#found.set(key, { callee, most })
    return callee
  }

  #makeCallee(entry: number, most: number, depth: number): Callee | undefined {
    const leaders = new Set([entry])
    const seen = new Set<number>()
    const calls = new Map<number, readonly Callee[]>()
    const work = [entry]
    let size = 0
    for (let start = work.pop(); start !== undefined; start = work.pop()) {
      const line: Known[] = []
      for (let place = start; !seen.has(place); ) {
        const i = this.#at(place)
        if (i === 'cold') break
        if (!i || ++size > most) return undefined
        const { target, call } = flow(this.#r, i)
        const { name, ends, returns } = i.decoded
        if (call !== undefined) {
          if (typeof call === 'number' && this.#at(call) === 'cold') break
          const targets = typeof call === 'number' ? [call] : this.#r.targets(i, line)
          const callees = this.#all(targets, most - size, depth - 1)
          if (!callees) return undefined
          for (const callee of callees) size += callee.size
          calls.set(place, callees)
        } else if (i.decoded.calls && target === undefined) return undefined
        seen.add(place)
        place = i.place + i.length
        if (target !== undefined) {
          leaders.add(target)
          work.push(target)
        }
        // Going into another page is an edge, which looks whether it is still there.
        if (target !== undefined || call !== undefined || pageOf(place) !== pageOf(i.place)) leaders.add(place)
        if (name === 'jmp_indirect') {
          const targets = this.#r.targets(i, line)
          if (targets.length === 0) return undefined
          for (const to of targets) leaders.add(to)
          work.push(...targets)
        } else if (ends && call === undefined && target === undefined && !returns) return undefined
        if (ends && call === undefined) break
        line.push(i)
      }
    }
    if (!seen.has(entry)) return undefined
    return { entry, leaders, places: seen, calls, size }
  }
}
