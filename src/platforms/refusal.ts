/** Which platforms a kernel can be run on. */
import type { Kernel } from '../boot/entries.ts'
import type { PlatformDefinition } from '../paravirt/platform.ts'
import { definitions, platforms, type PlatformName } from './index.ts'

/** Why a kernel cannot make anything of a platform, in words that follow its name; undefined: it can. */
export function refusal(kernel: Kernel, platform: PlatformName): string | undefined {
  const definition: PlatformDefinition = definitions[platform]
  if (definition.refuses) return definition.refuses(kernel)
  return Object.keys(kernel.entries).length === 0 ? 'it has no entry that a PC could use' : undefined
}

export function possiblePlatforms(kernel: Kernel): PlatformName[] {
  return platforms.filter((platform) => refusal(kernel, platform) === undefined)
}
