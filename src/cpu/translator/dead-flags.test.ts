/** Which instructions of a block still make flags. */
import { expect, test } from 'vitest'
import type { Effect } from '../isa/ir.ts'
import { allRows } from '../isa/table.ts'
import { recordVariant } from '../isa/variants.ts'
import type { Instruction } from './blocks.ts'
import { withoutDeadFlags } from './dead-flags.ts'

/** An instruction of 32-bit registers; `ADD r, r/m` is `add:b`, whose operand is memory. */
function instruction(text: string): Instruction {
  const [name, form = 'r'] = text.split(':')
  const row = allRows().find((r) => r.name === name && (r.sizes.includes(32) || r.sizes[0] === 0))
  if (!row) throw new Error(`there is no ${name}`)
  const { effects } = recordVariant(row, 32, form as 'r', '64')
  return { decoded: { effects, translatable: true, enablesInterrupts: false } } as unknown as Instruction
}

const makesFlags = (effects: readonly Effect[]): boolean =>
  effects.some((e) => e.kind === 'flags' || (e.kind === 'if' && (makesFlags(e.then) || makesFlags(e.else))))
const readsFlags = (effects: readonly Effect[]): boolean =>
  effects.some((e) => e.kind === 'call' || (e.kind === 'if' && (readsFlags(e.then) || readsFlags(e.else))))

const seen = (...texts: string[]) => {
  const kept = withoutDeadFlags(texts.map(instruction))
  return kept.map((effects) => `${makesFlags(effects) ? 'makes' : '-'} ${readsFlags(effects) ? 'reads' : '-'}`)
}

test('a rotation that an addition follows neither makes flags nor reads old ones', () => {
  expect(seen('rol', 'add')).toEqual(['- -', 'makes -'])
  expect(seen('ror', 'rol', 'ror', 'add')).toEqual(['- -', '- -', '- -', 'makes -'])
})

test('the last flags of a block stay', () => {
  expect(seen('add', 'rol')).toEqual(['makes -', 'makes reads'])
})

test('an instruction that can leave needs the flags before it', () => {
  expect(seen('rol', 'add:b', 'add')).toEqual(['makes reads', '- -', 'makes -'])
})

test('so does one that reads them', () => {
  expect(seen('rol', 'lahf', 'add')[0]).toBe('makes reads')
  expect(seen('rol', 'adc', 'add')[0]).toBe('makes reads')
})
