/** ENTER (SDM Vol. 2): a stack frame, with the frame pointers of the enclosing procedures. */
import { RBP, RSP } from './layout'
import { probeWrite, PROBE_FAULT, slowLoad, slowStore, STACK } from './access'
import { SEG_SS } from './bits'
import { segLinear } from './linear'
import { faulted } from './segments'
import { currentMask, merged } from './stack'

/** `alloc` bytes of locals, nesting `level` 0 to 31, operand `size` in bytes. */
export function enter(p: u32, alloc: u32, level: u32, size: u32): i32 {
  const mask = currentMask(p)
  const rsp = load<u64>(p, RSP)
  const rbp = load<u64>(p, RBP)
  let sp = (rsp - size) & mask
  if (push(p, sp, size, rbp)) return 1
  const frame = sp
  let bp = rbp
  for (let i: u32 = 1; i < level; i++) {
    bp = (bp - size) & mask
    const from = segLinear(p, SEG_SS, bp, size, 0)
    if (faulted(p)) return 1
    const outer = slowLoad(p, from, size | STACK)
    if (faulted(p)) return 1
    sp = (sp - size) & mask
    if (push(p, sp, size, outer)) return 1
  }
  if (level != 0) {
    sp = (sp - size) & mask
    if (push(p, sp, size, frame)) return 1
  }
  sp = (sp - alloc) & mask
  // What the final stack pointer points at must be writable.
  const top = segLinear(p, SEG_SS, sp, size, 1)
  if (faulted(p) || probeWrite(p, top, size | STACK) == PROBE_FAULT) return 1
  store<u64>(p, merged(mask, rsp, sp), RSP)
  if (size == 2) store<u16>(p, <u16>frame, RBP)
  else store<u64>(p, size == 4 ? frame & 0xffffffff : frame, RBP)
  return 0
}

function push(p: u32, sp: u64, size: u32, value: u64): i32 {
  const linear = segLinear(p, SEG_SS, sp, size, 1)
  return faulted(p) ? 1 : slowStore(p, linear, size | STACK, value)
}
