/**
 * Records that are no instructions and cost nothing: how streams hang together.
 *
 * bad: must never run. goto: go on at the record in DISP. check: budget check on a long straight line. nextPage: the
 * stream goes on at offset IMM of the next page. guard: before an instruction that crosses into the next page, IMM is that page's number
 * when it was decoded. lookup: leave with RIP here, so that the next instruction is decoded (or faults). region: a
 * translated region begins here, DISP is its place in the table of regions, IMM a copy of the record it displaced.
 */
import { Exit, Leave, R, S, Tlb } from '../layout.ts'
import { Code, type ModuleWriter } from '../wasm/module.ts'
import type { LocalPool } from '../isa/emitter.ts'
import type { Helpers } from './emit.ts'
import { REGION_MARGIN, SLICE_MARGIN } from './records.ts'

export const PSEUDO = ['bad', 'goto', 'check', 'nextPage', 'guard', 'lookup', 'region'] as const
export const Pseudo = { bad: 0, goto: 1, check: 2, nextPage: 3, guard: 4, lookup: 5, region: 6 } as const

const P = 0
/** The interpreter's own handlers are table 1, the regions table 0, which is imported. */
const REGION_TABLE = 0
/** No address that code can have: the interpreter expects no return. */
export const NOWHERE = 0x5000_0000_0000_0000n

/** The functions, in the order of PSEUDO. `recross` is the host's: forget the record that follows a guard. */
export function emitPseudoFunctions(module: ModuleWriter, helpers: Helpers, recross: number): number[] {
  const RECORD = 1
  const setRip = (c: Code, add: () => void) => {
    c.get(P).get(P).get(RECORD)
    add()
    c.call(helpers.rip).mem('i64.store', S.RIP)
  }
  const bodies: Record<(typeof PSEUDO)[number], (c: Code) => void> = {
    bad: (c) => {
      setRip(c, () => c.i32(0))
      c.get(P).i32(Exit.FATAL).mem('i32.store', S.EXIT)
      c.get(P).i32(Leave.HOST).mem('i32.store', S.LEAVE)
      c.i32(0)
    },
    goto: (c) => c.get(RECORD).mem('i32.load', R.DISP),
    check: (c) => c.get(RECORD).i32(R.SIZE).op('i32.add'),
    nextPage: (c) => {
      c.get(P)
        .get(P)
        .mem('i64.load', S.PAGE_LINEAR)
        .i64(4096n)
        .op('i64.add')
        .get(P)
        .mem('i64.load', S.SEG_BASE + 8)
        .op('i64.sub')
      c.get(RECORD).mem('i64.load32_u', R.IMM).op('i64.add')
      c.tee(c.local('i64'))
        .get(2)
        .i64(0xffffffffn)
        .op('i64.and')
        .get(P)
        .mem('i32.load', S.MODE)
        .i32(1)
        .op('i32.and')
        .select()
      c.mem('i64.store', S.RIP)
      c.i32(0)
    },
    guard: (c) => {
      const page = c.local('i64')
      setRip(c, () => c.i32(0))
      c.get(P)
        .get(P)
        .mem('i64.load', S.PAGE_LINEAR)
        .i64(4096n)
        .op('i64.add')
        .call(helpers.procedure('fetchCheck'))
        .set(page)
      c.get(P).mem('i32.load', S.EXC).i32(0).op('i32.ge_s').if().i32(0).return().end()
      c.get(page)
        .get(RECORD)
        .mem('i64.load32_u', R.IMM)
        .op('i64.eq')
        .if()
        .get(RECORD)
        .i32(R.SIZE)
        .op('i32.add')
        .return()
        .end()
      c.get(P).get(RECORD).call(recross)
      c.i32(0)
    },
    lookup: (c) => {
      setRip(c, () => c.i32(0))
      c.i32(0)
    },
    region: (c) => c.get(RECORD).mem('i32.load', R.IMM),
  }
  return PSEUDO.map((name) => {
    const index = module.declare()
    const c = new Code({ params: ['i32', 'i32'], results: ['i32'] })
    bodies[name](c)
    module.define(index, c)
    return index
  })
}

/** Locals and label heights of the dispatch loop. */
export interface Arm {
  r: number
  x: number
  height: number
  dispatch: number
  loop: number
  slow: number
  out: number
  regionType: number
}

/** An arm of the dispatch loop; `height` is the number of open blocks, the others the heights of the labels. */
export function emitInlinePseudo(c: Code, pool: LocalPool, which: number, at: Arm): void {
  const { r, x, height } = at
  const goOn = () => c.br(height - at.loop)
  const checkedAt = (deeper: number) => {
    c.get(x)
      .get(r)
      .op('i32.sub')
      .i32(SLICE_MARGIN * R.SIZE)
      .op('i32.gt_s')
      .brIf(height + deeper - at.loop)
    c.br(height + deeper - at.out)
  }
  const checked = () => checkedAt(0)
  const nextPageEntry = (): number => {
    const entry = pool.take('i32')
    const linear = pool.take('i64')
    c.get(P).mem('i64.load', S.PAGE_LINEAR).i64(4096n).op('i64.add').set(linear)
    c.get(P)
      .mem('i32.load', S.TLB_EXEC)
      .get(linear)
      .i64(8n)
      .op('i64.shr_u')
      .op('i32.wrap_i64')
      .i32((Tlb.ENTRIES - 1) * Tlb.ENTRY)
      .op('i32.and')
      .op('i32.add')
      .tee(entry)
    c.mem('i64.load', 0)
      .get(linear)
      .get(P)
      .mem('i64.load', S.GEN)
      .op('i64.or')
      .op('i64.ne')
      .brIf(height - at.slow)
    return entry
  }
  switch (which) {
    case Pseudo.goto: {
      const target = pool.take('i32')
      c.get(r).mem('i32.load', R.DISP).set(target)
      c.get(x).get(target).op('i32.add').get(r).op('i32.sub').set(x)
      c.get(target).set(r)
      return void checked()
    }
    case Pseudo.check:
      c.get(x).i32(R.SIZE).op('i32.add').set(x)
      c.get(r).i32(R.SIZE).op('i32.add').set(r)
      return void checked()
    case Pseudo.nextPage: {
      const entry = nextPageEntry()
      const target = pool.take('i32')
      c.get(entry)
        .mem('i32.load', 8)
        .get(r)
        .mem('i32.load', R.IMM)
        .i32(2)
        .op('i32.shl')
        .op('i32.add')
        .mem('i32.load', 0)
        .tee(target)
        .op('i32.eqz')
        .brIf(height - at.slow)
      c.get(P).get(P).mem('i64.load', S.PAGE_LINEAR).i64(4096n).op('i64.add').mem('i64.store', S.PAGE_LINEAR)
      c.get(x).get(target).op('i32.add').get(r).op('i32.sub').set(x)
      c.get(target).set(r)
      return void checked()
    }
    case Pseudo.guard: {
      const entry = nextPageEntry()
      c.get(entry)
        .mem('i32.load', 12)
        .get(r)
        .mem('i32.load', R.IMM)
        .op('i32.ne')
        .brIf(height - at.slow)
      c.get(x).i32(R.SIZE).op('i32.add').set(x)
      c.get(r).i32(R.SIZE).op('i32.add').set(r)
      return void goOn()
    }
    case Pseudo.region: {
      const target = pool.take('i32')
      c.get(x)
        .get(r)
        .op('i32.sub')
        .i32(REGION_MARGIN * R.SIZE)
        .op('i32.gt_s')
      c.if()
      c.get(P).get(x).get(r).op('i32.sub').i32(4).op('i32.shr_s').op('i64.extend_i32_s').mem('i64.store', S.BUDGET)
      c.get(P).i64(NOWHERE).i32(0).get(r).mem('i32.load', R.DISP)
      c.callIndirect(at.regionType, REGION_TABLE).tee(target)
      c.op('i32.eqz').brIf(height + 1 - at.dispatch)
      c.get(target).get(P).mem('i32.load', S.BUDGET).i32(4).op('i32.shl').op('i32.add').set(x)
      c.get(target).set(r)
      // An access may have asked for attention: the complete function of the next instruction looks.
      c.get(P)
        .mem('i32.load', S.LEAVE)
        .brIf(height + 1 - at.slow)
      checkedAt(1)
      c.end()
      // Too little is left for a region: go on with the instruction itself.
      c.get(r).mem('i32.load', R.IMM).set(target)
      c.get(x).get(target).op('i32.add').get(r).op('i32.sub').set(x)
      c.get(target).set(r)
      return void goOn()
    }
    default:
      c.br(height - at.slow)
  }
}
