/** Scripts of the default guest, by name, from their files: `#guest-scripts` in a checkout. Bundles have their texts. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const guestScript = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../../guests/init', name), 'utf8')
