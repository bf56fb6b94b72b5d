/** What a module of regions imports: only what its regions use, as they use it. */
import { HANDLER, REGION } from '../interpreter/build.ts'
import { procedures } from '../isa/procedures.ts'
import type { ModuleWriter } from '../wasm/module.ts'
import type { Ty } from '../wasm/opcodes.ts'
import type { RegionImports } from './state.ts'

function signature(name: string): { params: readonly Ty[]; results: readonly Ty[] } {
  if (name === 'tryRead' || name === 'tryWrite') return { params: ['i32', 'i64', 'i32'], results: ['i32'] }
  const { params, result } = procedures[name] as { params: readonly Ty[]; result?: Ty }
  return { params: ['i32', ...params], results: result ? [result] : [] }
}

export function regionImports(writer: ModuleWriter): RegionImports {
  const regionTable = writer.importTable('host', 'regions')
  const handlerTable = writer.importTable('interpreter', 'handlers')
  return {
    condition: (code) => writer.import('interpreter', `condition${code}`, { params: ['i32'], results: ['i32'] }),
    procedure: (name) => writer.import('system', name, signature(name)),
    regionType: writer.type(REGION),
    regionTable,
    handlerType: writer.type(HANDLER),
    handlerTable,
  }
}
