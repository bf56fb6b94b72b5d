/** Saving and loading the x87 and SSE state as a whole: FNSTENV, FLDENV, FNSAVE, FRSTOR, FXSAVE, FXRSTOR. */
import { S } from '../layout.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'

/** 32-bit or 16-bit format; real-address mode has its own. */
const format = (s: Semantics) => {
  const real = s.shl(s.isZero(s.and(s.state(S.CR0), 1)), 1)
  return s.or(real, s.size === 16 ? 0 : 1)
}
const environmentBytes = (s: Semantics) => (s.size === 16 ? 14 : 28)
const image = (s: Semantics) => s.add(s.p(), S.SCRATCH)
const options = { sizes: [16, 32] } as const

const move = (s: Semantics, procedure: 'x87LoadImage' | 'x87StoreImage', bytes: number) =>
  s.attempt(
    procedure,
    s.linear(s.ea(), bytes, procedure === 'x87StoreImage'),
    s.k32(bytes),
    s.k32(s.size === 16 ? 2 : 4),
  )

row(
  'fnstenv',
  'D9 /6',
  'M',
  (s) => {
    s.attempt('x87NoWaitFault')
    s.call('x87StoreEnv', [image(s), format(s)])
    move(s, 'x87StoreImage', environmentBytes(s))
    s.call('x87EnvStored', [])
  },
  options,
)
row(
  'fldenv',
  'D9 /4',
  'M',
  (s) => {
    s.attempt('x87Fault')
    move(s, 'x87LoadImage', environmentBytes(s))
    s.call('x87LoadEnv', [image(s), format(s)])
  },
  options,
)
row(
  'fnsave',
  'DD /6',
  'M',
  (s) => {
    s.attempt('x87NoWaitFault')
    s.call('x87StoreEnv', [image(s), format(s)])
    s.call('x87StoreStack', [s.add(image(s), environmentBytes(s))])
    move(s, 'x87StoreImage', environmentBytes(s) + 80)
    s.call('x87Init', [])
  },
  options,
)
row(
  'frstor',
  'DD /4',
  'M',
  (s) => {
    s.attempt('x87Fault')
    move(s, 'x87LoadImage', environmentBytes(s) + 80)
    s.call('x87LoadEnv', [image(s), format(s)])
    s.call('x87LoadStack', [s.add(image(s), environmentBytes(s))])
  },
  options,
)

for (const [name, digit] of [
  ['fxsave', 0],
  ['fxrstor', 1],
] as const)
  row(
    name,
    `NP 0F AE /${digit}`,
    'M',
    (s) => {
      s.attempt('x87NoWaitFault')
      s.attempt(name, s.linear(s.ea(), 512, name === 'fxsave'), s.k32(s.size === 64 ? 1 : 0))
    },
    { sizes: [32, 64] },
  )
