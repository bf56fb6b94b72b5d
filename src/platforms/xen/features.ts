/** Parts of Xen that can be left out, by name. */
import type { Feature } from '../../paravirt/platform.ts'

export const features = {
  fifo: { default: true, summary: 'event channels with queues and priorities' },
} as const satisfies Readonly<Record<string, Feature>>
