/** Instructions that only hint or order here: NOPs, PREFETCH, PAUSE, ENDBR, fences, CLFLUSH (SDM Vol. 2). */
import { row } from './row.ts'

/** ENDBR32, ENDBR64 and the instructions of CET and MPX are NOPs where those are off (opcodes 0F 18 to 0F 1E). */
for (const opcode of ['0D', '18', '19', '1A', '1B', '1C', '1D', '1E']) row('nop', `0F ${opcode} /r`, 'Ev', () => {})
row('pause', 'F3 90', '', (s) => s.call('pause', []), { noRexB: true })
row('lfence', 'NP 0F AE E8+i', '', () => {})
row('mfence', 'NP 0F AE F0+i', '', () => {})
row('sfence', 'NP 0F AE F8+i', '', () => {})
/** Permissions are those of a byte load. */
for (const [name, prefix] of [
  ['clflush', 'NP'],
  ['clflushopt', '66'],
] as const)
  row(name, `${prefix} 0F AE /7`, 'Mb', (s) => {
    s.read(0)
  })
