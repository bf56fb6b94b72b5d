/** The instruction table: importing a family defines its rows. */
import './arithmetic.ts'
import './move.ts'
import './branch.ts'

export { allRows } from './row.ts'
