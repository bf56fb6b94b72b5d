/**
 * Makes the interpreter's module from the instruction table: a function for every handler, and `run`, whose
 * `loop { br_table }` holds the hot ones inline.
 *
 * Records of one stream lie one after another and each costs one of the budget, so `x = r + 16 * budget` needs no
 * update on straight lines; a taken branch adds its distance to x and leaves when x - r gets small.
 */
import { allRows } from '../isa/table.ts'
import { procedures } from '../isa/procedures.ts'
import { endsStream, variantIndex, variantsOf, forms, modes, VARIANTS_PER_ROW, type Variant } from '../isa/variants.ts'
import { Leave, M, R, S } from '../layout.ts'
import { Code, ModuleWriter } from '../wasm/module.ts'
import { recordCondition } from './conditions.ts'
import { LocalPool } from '../isa/emitter.ts'
import { HandlerEmitter, type Helpers } from './emit.ts'
import { isHot } from './hot.ts'
import { withBails } from './bails.ts'
import { canInline, canTranslate } from './inline.ts'
import { pairsOf } from './pairs.ts'
import { emitInlinePseudo, emitPseudoFunctions, PSEUDO, Pseudo } from './pseudo.ts'
import { SLICE_MARGIN } from './records.ts'
import { emitCount, isSensitive } from './sensitive.ts'

export interface Interpreter {
  bytes: Uint8Array<ArrayBuffer>
  /** Handler of each variant, row * VARIANTS_PER_ROW + variantIndex; 0xffff where there is none. */
  handlers: Uint16Array
  /** 1 where control never reaches the next record. */
  ends: Uint8Array
  /** Bits of Trait. */
  traits: Uint8Array
  /** For each handler a variant (an index in `handlers`) that it serves, a pair's: its first instruction's; NO_ORIGIN: none. */
  origins: Uint32Array
  /** The handler of a pair, by first << 16 | second. */
  pairs: Map<number, number>
  /** Handler keys, for listings. */
  names: string[]
}

/** What a region's graph must know of a handler's instructions before it has their recordings. */
export const Trait = {
  TRANSLATED: 1, // made from its effects; otherwise the interpreter's function does it
  CALLS: 2, // asks for the address of the next instruction: pushes it and branches
} as const

export const NO_ORIGIN = 0xffffffff

/** A region: (p, linear address to which its caller expects it to return, depth) → next record, or 0 with RIP set. */
export const REGION = { params: ['i32', 'i64', 'i32'], results: ['i32'] } as const
const HANDLER_TABLE = 1
/** A handler's function: (p, r) → next record, or 0 with RIP set. */
export const HANDLER = { params: ['i32', 'i32'], results: ['i32'] } as const
const P = 0
const RECORD = 1
const FLAG_TF = 0x100

/**
 * Build the module; takes half a second, so callers keep the result (see cached.ts). A profiling build has no inline
 * handlers and counts the executions of each at M.PROFILE; a counting build counts sensitive instructions.
 */
export function buildInterpreter({ profile = false, counting = false } = {}): Interpreter {
  const module = new ModuleWriter()
  const imported = new Map<string, number>()
  for (const [name, { params, result }] of Object.entries(procedures))
    imported.set(name, module.import('system', name, { params: ['i32', ...params], results: result ? [result] : [] }))
  module.importTable('host', 'regions')
  const host = module.import('host', 'recross', { params: ['i32', 'i32'], results: [] })

  const helpers: Helpers = {
    condition: [0, 2, 4, 6, 8, 10, 12, 14].map(() => module.declare()),
    rip: module.declare(),
    link: module.declare(),
    procedure: (name) => {
      const index = imported.get(name)
      if (index === undefined) throw new Error(`procedure ${name} is not declared`)
      return index
    },
  }
  helpers.condition.forEach((index, i) => {
    module.define(index, conditionFunction(i * 2, helpers))
    module.export(`condition${i * 2}`, index)
  })
  module.define(helpers.rip, ripFunction())
  module.define(helpers.link, linkFunction(helpers))

  // Hot handlers and pairs of them first: their numbers index the br_table.
  const byKey = new Map<string, Variant>()
  const variants = allRows().flatMap(variantsOf)
  for (const v of variants) if (!byKey.has(v.key)) byKey.set(v.key, v)
  const unique = [...byKey.values()]
  const isCounted = (v: Variant) => counting && isSensitive(v.row.name)
  const hot = unique.filter((v) => !profile && isHot(v.key) && canInline(v) && !isCounted(v))
  const pairs = pairsOf(hot)
  const others = unique.filter((v) => !hot.includes(v))
  const order = [...hot, ...others]
  const firstOther = PSEUDO.length + hot.length + pairs.length
  const numbers = new Map([
    ...hot.map((v, i) => [v.key, PSEUDO.length + i] as const),
    ...others.map((v, i) => [v.key, firstOther + i] as const),
  ])
  const number = (v: Variant) => numbers.get(v.key) as number

  const pseudo = emitPseudoFunctions(module, helpers, host)
  const functions = order.map((v) => {
    const index = module.declare()
    module.define(index, handlerFunction(v, helpers, isCounted(v)))
    return index
  })
  // The function of a pair is its first instruction's.
  const functionOf = new Map(order.map((v, i) => [v.key, functions[i] as number]))
  const firsts = pairs.map(({ first }) => functionOf.get(first.key) as number)
  module.exportTable(
    'handlers',
    module.table([...pseudo, ...functions.slice(0, hot.length), ...firsts, ...functions.slice(hot.length)]),
  )

  const run = module.declare()
  const arms = [...hot.map((v) => [v]), ...pairs.map(({ first, second }) => [first, second])]
  const step = module.declare()
  module.define(run, runFunction(arms, helpers, module, profile))
  module.export('run', run)
  module.define(step, stepFunction(helpers, module))
  module.export('step', step)
  const finish = module.declare()
  module.define(finish, finishFunction(step))
  module.export('finish', finish)

  const handlers = new Uint16Array(allRows().length * VARIANTS_PER_ROW).fill(0xffff)
  for (const v of variants)
    for (const mode of v.modes)
      handlers[v.row.index * VARIANTS_PER_ROW + variantIndex(v.size, forms.indexOf(v.form), modes.indexOf(mode))] =
        number(v)
  const origins = new Uint32Array(firstOther + others.length).fill(NO_ORIGIN)
  for (let variant = handlers.length - 1; variant >= 0; variant--) {
    const handler = handlers[variant] as number
    if (handler !== 0xffff) origins[handler] = variant
  }
  pairs.forEach(({ first }, i) => (origins[PSEUDO.length + hot.length + i] = origins[number(first)] as number))
  const ends = new Uint8Array(firstOther + others.length)
  const traits = new Uint8Array(ends.length)
  for (const v of order) {
    if (endsStream(v.effects)) ends[number(v)] = 1
    if (canTranslate(withBails(v.effects, v.form), v.form, v.mode)) traits[number(v)] |= Trait.TRANSLATED
    if (v.effects.some((e) => e.kind === 'nextRip')) traits[number(v)] |= Trait.CALLS
  }
  return {
    bytes: module.bytes(),
    handlers,
    ends,
    traits,
    origins,
    pairs: new Map(
      pairs.map(({ first, second }, i) => [(number(first) << 16) | number(second), PSEUDO.length + hot.length + i]),
    ),
    names: [
      ...PSEUDO,
      ...hot.map((v) => v.key),
      ...pairs.map(({ first, second }) => `${first.key} ${second.key}`),
      ...others.map((v) => v.key),
    ],
  }
}

function conditionFunction(code: number, helpers: Helpers): Code {
  const c = new Code({ params: ['i32'], results: ['i32'] })
  const { s, value } = recordCondition(code)
  const emitter = new HandlerEmitter(
    c,
    new LocalPool(c),
    helpers,
    { inline: false, bail: 0 },
    { form: 'r', mode: '64', r: 0, height: 0 },
  )
  emitter.emit(s.effects)
  emitter.value(value)
  return c
}

/** rip(p, r, add): offset in CS of record r's instruction, plus add. */
function ripFunction(): Code {
  const c = new Code({ params: ['i32', 'i32', 'i32'], results: ['i64'] })
  const rip = c.local('i64')
  c.get(P).mem('i64.load', S.PAGE_LINEAR).get(RECORD).mem('i32.load16_u', R.OFFSET_LENGTH).i32(4).op('i32.shr_u')
  // After the last instruction of a page `nextPage` stands for the next one, IMM bytes into the next page.
  c.get(RECORD).mem('i32.load', R.IMM).i32(1).op('i32.add').get(2)
  c.get(RECORD).mem('i32.load16_u', R.HANDLER).i32(Pseudo.nextPage).op('i32.eq').select()
  c.op('i32.add').op('i64.extend_i32_u').op('i64.add')
  c.get(P)
    .mem('i64.load', S.SEG_BASE + 8)
    .op('i64.sub')
    .set(rip)
  c.get(rip).get(rip).i64(0xffffffffn).op('i64.and').get(P).mem('i32.load', S.MODE).i32(1).op('i32.and').select()
  return c
}

/** link(p, r): the record that the branch of r goes to, in its own page; decoded and remembered in r the first time. */
function linkFunction(helpers: Helpers): Code {
  const c = new Code(HANDLER)
  const target = c.local('i32')
  const epoch = c.local('i32')
  c.get(P)
  c.get(P)
    .mem('i64.load', S.PAGE_LINEAR)
    .get(RECORD)
    .mem('i64.load32_u', R.IMM)
    .op('i64.add')
    .get(P)
    .mem('i64.load', S.SEG_BASE + 8)
    .op('i64.sub')
  c.mem('i64.store', S.RIP)
  c.get(P).mem('i32.load', S.LEAVE).if().i32(0).return().end()
  c.get(RECORD).mem('i32.load', R.DISP).tee(target).if().get(target).return().end()
  c.get(P).mem('i32.load', S.CODE_EPOCH).set(epoch)
  c.get(P).call(helpers.procedure('lookup')).tee(target)
  c.if()
  c.get(P)
    .mem('i32.load', S.CODE_EPOCH)
    .get(epoch)
    .op('i32.eq')
    .if()
    .get(RECORD)
    .get(target)
    .mem('i32.store', R.DISP)
    .end()
  c.end()
  c.get(target)
  return c
}

/** A complete handler: (p, r) → next record, or 0 with RIP set. */
function handlerFunction(v: Variant, helpers: Helpers, counted: boolean): Code {
  const c = new Code(HANDLER)
  if (counted) emitCount(c, v, P, RECORD)
  c.get(P).get(RECORD).mem('i32.store', S.RECORD)
  c.block() // fault exit
  new HandlerEmitter(
    c,
    new LocalPool(c),
    helpers,
    { inline: false, bail: 1 },
    { form: v.form, mode: v.mode, r: RECORD, height: 1 },
  ).emit(v.effects)
  if (endsStream(v.effects)) c.unreachable()
  else {
    c.get(P).mem('i32.load', S.LEAVE).if()
    c.get(P)
      .get(P)
      .get(RECORD)
      .get(RECORD)
      .mem('i32.load16_u', R.OFFSET_LENGTH)
      .i32(15)
      .op('i32.and')
      .call(helpers.rip)
      .mem('i64.store', S.RIP)
    c.i32(0).return()
    c.end()
    c.get(RECORD).i32(R.SIZE).op('i32.add').return()
  }
  c.end()
  c.get(P).get(P).get(RECORD).i32(0).call(helpers.rip).mem('i64.store', S.RIP)
  c.i32(0)
  return c
}

/** run(p): `hot` has the arms, of one or two instructions. Executes until LEAVE asks for the host or the budget is nearly used; RIP is then valid. */
function runFunction(
  hot: readonly (readonly Variant[])[],
  helpers: Helpers,
  module: ModuleWriter,
  profile: boolean,
): Code {
  const c = new Code({ params: ['i32'], results: [] })
  const r = c.local('i32')
  const x = c.local('i32')
  const next = c.local('i32')
  const pool = new LocalPool(c)
  const arms = PSEUDO.length + hot.length

  // Heights (open blocks): dispatch 1, out 2, loop 3, slow 4, arms above.
  const DISPATCH = 1
  const OUT = 2
  const LOOP = 3
  const SLOW = 4
  c.loop() // dispatch
  c.get(P).mem('i32.load', S.EXC).i32(0).op('i32.ge_s').if().get(P).call(helpers.procedure('deliver')).end()
  c.get(P).mem('i64.load', S.BUDGET).i64(BigInt(SLICE_MARGIN)).op('i64.le_s').if().return().end()
  c.get(P).mem('i32.load', S.LEAVE).i32(~Leave.CODE).op('i32.and').if()
  // All that waits is the instruction after STI or a load of SS, and no interrupt: it is like any other. (A call of
  // `step` here would be inlined by V8, with a guess at its target, and all of this function deoptimized later.)
  c.get(P).mem('i32.load', S.LEAVE).i32(Leave.HOST).op('i32.and')
  for (const field of [S.IRQ_PENDING, S.NMI_PENDING]) c.get(P).mem('i32.load', field).op('i32.or')
  c.get(P).mem('i32.load', S.SYSFLAGS).i32(FLAG_TF).op('i32.and').op('i32.or')
  c.get(P).mem('i32.load', S.SHADOW).op('i32.eqz').op('i32.or').if().return().end()
  for (const field of [S.SHADOW, S.TF_AFTER]) c.get(P).i32(0).mem('i32.store', field)
  c.end()
  c.get(P).i32(0).mem('i32.store', S.LEAVE)
  c.get(P)
    .call(helpers.procedure('lookup'))
    .tee(r)
    .op('i32.eqz')
    .brIf(1 - DISPATCH)
  c.get(r).get(P).mem('i32.load', S.BUDGET).i32(4).op('i32.shl').op('i32.add').set(x)

  c.block() // out: r is valid, the budget nearly used
  c.loop()
  c.block() // slow
  for (let i = 0; i < arms; i++) c.block()
  c.get(r).mem('i32.load16_u', R.HANDLER)
  c.brTable([...Array(arms).keys()], arms)
  const taken = LOOP
  for (let i = 0; i < arms; i++) {
    c.end()
    const height = SLOW + arms - 1 - i
    pool.reset()
    if (i < PSEUDO.length)
      emitInlinePseudo(c, pool, i, {
        r,
        x,
        height,
        dispatch: DISPATCH,
        loop: LOOP,
        slow: SLOW,
        out: OUT,
        regionType: module.type(REGION),
      })
    else {
      // Taken branches check the budget before they go on.
      c.block()
      const variants = hot[i - PSEUDO.length] as readonly Variant[]
      let before: HandlerEmitter | undefined
      for (const [n, v] of variants.entries()) {
        const shape = { inline: true, bail: SLOW, taken: height + 1, x, followed: n + 1 < variants.length }
        const facts = { form: v.form, mode: v.mode, r, height: height + 1 }
        const emitter = new HandlerEmitter(c, pool, helpers, shape, facts)
        emitter.known = before?.known
        emitter.emit(v.effects)
        if (!endsStream(v.effects)) c.get(r).i32(R.SIZE).op('i32.add').set(r)
        before = emitter
      }
      if (!endsStream((variants.at(-1) as Variant).effects)) c.br(height + 1 - LOOP)
      c.end()
      c.get(x)
        .get(r)
        .op('i32.sub')
        .i32(SLICE_MARGIN * R.SIZE)
        .op('i32.gt_s')
        .brIf(height - taken)
      c.br(height - OUT)
    }
  }
  c.end() // slow: the whole instruction as a function
  const isPseudo = () => c.get(r).mem('i32.load16_u', R.HANDLER).i32(PSEUDO.length).op('i32.lt_u')
  c.get(P).get(x).get(r).op('i32.sub').i32(4).op('i32.shr_s').op('i64.extend_i32_s').mem('i64.store', S.BUDGET)
  if (profile) {
    c.get(r).mem('i32.load16_u', R.HANDLER).i32(3).op('i32.shl').tee(next)
    c.get(next).mem('i64.load', M.PROFILE).i64(1n).op('i64.add').mem('i64.store', M.PROFILE)
  }
  c.get(P)
    .get(r)
    .get(r)
    .mem('i32.load16_u', R.HANDLER)
    .callIndirect(module.type(HANDLER), HANDLER_TABLE)
    .tee(next)
    .op('i32.eqz')
  c.if()
  c.get(P).get(P).mem('i64.load', S.BUDGET)
  isPseudo().op('i32.eqz').op('i64.extend_i32_u').op('i64.sub').mem('i64.store', S.BUDGET)
  c.br(LOOP + 1 - DISPATCH)
  c.end()
  c.get(x).get(next).op('i32.add').get(r).op('i32.sub').i32(0).i32(R.SIZE)
  isPseudo().select().op('i32.sub').set(x)
  c.get(next).set(r)
  c.get(x)
    .get(r)
    .op('i32.sub')
    .i32(SLICE_MARGIN * R.SIZE)
    .op('i32.gt_s')
    .brIf(0)
  c.end() // loop
  c.end() // out
  c.get(P).get(P).get(r).i32(0).call(helpers.rip).mem('i64.store', S.RIP)
  c.get(P).get(x).get(r).op('i32.sub').i32(4).op('i32.shr_s').op('i64.extend_i32_s').mem('i64.store', S.BUDGET)
  c.end() // dispatch
  return c
}

/** step(p): one instruction, exactly; leaves RIP at the next one, or EXC set. */
function stepFunction(helpers: Helpers, module: ModuleWriter): Code {
  const c = new Code({ params: ['i32'], results: [] })
  const r = c.local('i32')
  const handler = c.local('i32')
  c.loop()
  c.get(P).call(helpers.procedure('lookup')).tee(r).op('i32.eqz').if().return().end()
  c.loop()
  c.get(r).mem('i32.load16_u', R.HANDLER).set(handler)
  c.get(P).get(r).get(handler).callIndirect(module.type(HANDLER), HANDLER_TABLE).set(r)
  c.get(handler).i32(PSEUDO.length).op('i32.lt_u').if()
  c.get(r).brIf(1) // a pseudo record costs nothing: go on with what it names
  c.get(P).mem('i32.load', S.EXC).i32(0).op('i32.lt_s').brIf(2)
  c.return()
  c.end()
  c.end()
  c.end()
  c.get(P).get(P).mem('i64.load', S.BUDGET).i64(1n).op('i64.sub').mem('i64.store', S.BUDGET)
  c.get(r).if()
  c.get(P).get(P).get(r).i32(0).call(helpers.rip).mem('i64.store', S.RIP)
  c.end()
  return c
}

/** finish(p): the rest of the slice by `step`, at least one instruction, until something needs attention. */
function finishFunction(step: number): Code {
  const c = new Code({ params: ['i32'], results: [] })
  c.loop()
  c.get(P).call(step)
  c.get(P).mem('i64.load', S.BUDGET).i64(0n).op('i64.gt_s')
  c.get(P).mem('i32.load', S.LEAVE).op('i32.eqz').op('i32.and')
  c.get(P).mem('i32.load', S.EXC).i32(0).op('i32.lt_s').op('i32.and').brIf(0)
  c.end()
  return c
}
