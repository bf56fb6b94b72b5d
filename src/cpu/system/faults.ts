/** Raising guest exceptions: recorded in the state block, delivered by `deliver` at the instruction boundary. */
import { EXC, EXC_ERROR, EXC_HAS_ERROR } from './layout'

/** Record exception `vector` with an error code. The caller must return at once. */
export function raise(p: u32, vector: i32, error: i32): void {
  store<i32>(p + EXC, vector)
  store<i32>(p + EXC_ERROR, error)
  store<i32>(p + EXC_HAS_ERROR, 1)
}

/** Record exception `vector` that pushes no error code. */
export function raiseNoError(p: u32, vector: i32): void {
  store<i32>(p + EXC, vector)
  store<i32>(p + EXC_HAS_ERROR, 0)
}
