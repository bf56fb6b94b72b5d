/** `npm run docs`: the documents that are made from the sources, apart from the coverage table. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { commandLine } from '../src/cli/commands.ts'
import { reference } from '../src/cli/reference.ts'
import { reference as libraryReference } from './reference/generate.ts'
import { expectationsSchema } from '../src/matrix/expectations.ts'

const docs = join(import.meta.dirname, '../docs')
writeFileSync(join(docs, 'reference.md'), libraryReference(join(docs, '..')))
writeFileSync(join(docs, 'cli.md'), reference(commandLine(() => {})))
writeFileSync(join(docs, 'expect.schema.json'), `${JSON.stringify(z.toJSONSchema(expectationsSchema), null, 2)}\n`)
