/** `npm run coverage`: writes docs/coverage.md from the declarations of all platforms. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { coverage } from '../src/paravirt/explain.ts'
import { definitions } from '../src/platforms/index.ts'

writeFileSync(join(import.meta.dirname, '../docs/coverage.md'), coverage(Object.values(definitions)))
