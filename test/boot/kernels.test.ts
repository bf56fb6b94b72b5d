/** Debian's other kernels: each reaches its shell, says nothing alarming, and runs the same programs. */
import { beforeAll, describe } from 'vitest'
import type { Result } from './guest.ts'
import { inGuest } from './guest.ts'
import { expectHealthyKernel, kernelCommands } from './kernel.ts'
import { expectUserspace, userspaceCommands } from './userspace.ts'

describe.each(['linux-image-amd64', 'linux-image-6.12-amd64', 'linux-image-686-pae:i386', 'linux-image-686:i386'])(
  '%s',
  (kernel) => {
    let results: Readonly<Record<keyof typeof kernelCommands | keyof typeof userspaceCommands, Result>>
    beforeAll(async () => {
      results = await inGuest([kernel], { ...kernelCommands, ...userspaceCommands })
    })
    expectHealthyKernel(() => results)
    expectUserspace(() => results)
  },
)
