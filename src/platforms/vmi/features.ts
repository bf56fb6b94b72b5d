/** What can be switched at VMI's host. */
import type { Feature } from '../../paravirt/platform.ts'

export const features = {
  counting: {
    summary: 'a ROM that tells the host of every call, also of those that are native code in the other one',
    default: false,
  },
} as const satisfies Readonly<Record<string, Feature>>
