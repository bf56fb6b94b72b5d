/** What a hypercall works on. */
import type { Lguest } from './lguest.ts'
import type { Segments } from './segments.ts'
import type { Shadows } from './shadow.ts'
import type { Traps } from './traps.ts'

export interface Parts {
  readonly lg: Lguest
  readonly shadows: Shadows
  readonly traps: Traps
  readonly segments: Segments
}
