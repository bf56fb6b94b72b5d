/** The reference TSC page of a clock that does not stand still. */
import { expect, test } from 'vitest'
import { Mock } from '../../paravirt/mock.ts'
import { Overlays } from './overlay.ts'
import { ReferenceClock } from './reference-clock.ts'

test('time that passes while the page is made is not in its offset', () => {
  const { effects, ram } = new Mock()
  let now = 1_000_000
  const time = { ...effects.time, now: () => (now += 30_000) }
  const clock = new ReferenceClock({ ...effects, time }, new Overlays(effects.memory))
  clock.write(0, (9n << 12n) | 1n)
  expect(new DataView(ram.buffer).getBigInt64((9 << 12) + 16, true)).toBe(0n)
})
