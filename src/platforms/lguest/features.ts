/** What can be switched at lguest's host. */
import type { Feature } from '../../paravirt/platform.ts'

export const features = {
  rng: { summary: 'a virtio device of random numbers, as the Launcher’s --rng', default: true },
} as const satisfies Readonly<Record<string, Feature>>
