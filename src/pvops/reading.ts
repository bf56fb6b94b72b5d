/** What is read of a kernel's operations, as data. */
import { z } from 'zod'

const counted = z.object({ what: z.string(), count: z.number().int().nonnegative() })

export const opsReadingSchema = z.object({
  slots: z.array(
    z.object({
      table: z.string(),
      group: z.string(),
      offset: z.number().int(),
      name: z.string().optional(),
      functions: z.array(z.string()),
      /** What its call sites are now. */
      sites: z.array(counted),
    }),
  ),
  /** Requests by the operation that they serve: way (`msr`, `hypercall`, `instruction`, ...) and how many. */
  arrived: z.record(z.string(), z.array(counted)),
  /** What reaches no host was counted, too. */
  counted: z.boolean(),
})
export type OpsReading = z.infer<typeof opsReadingSchema>
