/**
 * The string instructions (SDM Vol. 2, REP and each of them): MOVS STOS LODS CMPS SCAS INS OUTS, alone and repeated.
 *
 * Registers are committed element by element, or in runs that lie within one page on each side and are done in host
 * memory at once. So a fault finds the registers of the element that faulted, and execution resumes there. One call
 * does at most SLICE bytes and stops early for whatever sets LEAVE.
 */
import {
  EXC, FK_SUB, FLAGS_B, FLAGS_KIND, FLAGS_RES, LEAVE, MODE, MODE_LONG, PAGE_MMIO, PAGE_RAM, PAGE_READS, RAX,
  RCX, RDI, RDX, RSI, SEG_ATTR, SEG_LIMIT, SYSFLAGS,
} from './layout'
import { PROBE_FAULT, probeWrite, slowLoad, slowStore, STACK } from './access'
import { FLAG_DF, FLAG_TF, SEG_ES, SEG_SS } from './bits'
import { hostPortIn, hostPortOut } from './host'
import { checkIo } from './io'
import { segLinear } from './linear'
import { beforeWrite, hostAddress, pageKind } from './physical'
import { alignmentChecked, currentBank } from './tlb'
import { translateRead, translateWrite } from './translate'
import { WALK_FAULT } from './walk'

// Operations.
const MOVS: i32 = 0
const STOS: i32 = 1
const LODS: i32 = 2
const CMPS: i32 = 3
const SCAS: i32 = 4
const INS: i32 = 5
const OUTS: i32 = 6

// What stringOp answers.
const DONE: i32 = 0
const AGAIN: i32 = 1
const FAULT: i32 = 2

const REPE: i32 = 1
const REPNE: i32 = 2

const SLICE: u64 = 0x10000

// Type bits of a segment: code; data that expands down.
const CODE: u32 = 8
const EXPAND: u32 = 4

/** No run is possible here. */
const NO_RUN: u64 = 0

/**
 * Execute a string instruction. `op`: 0 MOVS, 1 STOS, 2 LODS, 3 CMPS, 4 SCAS, 5 INS, 6 OUTS; `size`: bytes an
 * element; `how`: bits 0-1 repeat prefix (0 none, 1 REP or REPE, 2 REPNE), bits 2-3 address size (0: 16, 1: 32, 2: 64
 * bits), bits 4-6 segment of the source. 0: done; 1: not finished, RIP stays; 2: fault, RIP stays.
 */
export function stringOp(p: u32, op: i32, size: i32, how: i32): i32 {
  const seg = (how >>> 4) & 7
  const mask = addressMask(how)
  const repeat = how & 3
  if (repeat == 0) return element(p, op, size, seg, mask) ? FAULT : DONE

  // The permission counts even where there is nothing to do.
  if ((op == INS || op == OUTS) && checkIo(p, load<u16>(p, RDX), size)) return FAULT
  truncate(p, op, mask)
  const count = load<u64>(p, RCX) & mask
  if (count == 0) return DONE
  // A fault leaves the flags as they were before the instruction.
  const kind = load<i32>(p, FLAGS_KIND)
  const b = load<u64>(p, FLAGS_B)
  const res = load<u64>(p, FLAGS_RES)
  const stepping = (load<u32>(p, SYSFLAGS) & FLAG_TF) != 0
  const budget = min(count, stepping ? 1 : SLICE / size)
  let done: u64 = 0
  do {
    let n = budget - done > 1 ? run(p, op, size, seg, mask, budget - done, repeat) : NO_RUN
    if (n == NO_RUN) {
      if (element(p, op, size, seg, mask)) {
        store<i32>(p, kind, FLAGS_KIND)
        store<u64>(p, b, FLAGS_B)
        store<u64>(p, res, FLAGS_RES)
        return FAULT
      }
      n = 1
    }
    done += n
    advance(p, RCX, mask, -n)
    if ((op == CMPS || op == SCAS) && (load<u64>(p, FLAGS_RES) == 0) == (repeat == REPNE)) return DONE
  } while (done < budget && load<u32>(p, LEAVE) == 0)
  return done == count ? DONE : AGAIN
}

// @ts-ignore: decorator
@inline
function addressMask(how: i32): u64 {
  const width = (how >>> 2) & 3
  return width == 0 ? 0xffff : width == 1 ? 0xffffffff : ~(<u64>0)
}

// @ts-ignore: decorator
@inline
function faulted(p: u32): bool {
  return load<i32>(p, EXC) >= 0
}

/** Add to an address or count register in its address size; 32 bits clear the upper half, 16 leave the rest. */
// @ts-ignore: decorator
@inline
function advance(p: u32, register: u32, mask: u64, by: u64): void {
  const value = load<u64>(p + register) + by
  if (mask == 0xffff) store<u16>(p + register, <u16>value)
  else store<u64>(p + register, value & mask)
}

/** Even a count of 0 and a fault write 32-bit registers: the count, with MOVS and STOS the addresses (seen on hardware). */
function truncate(p: u32, op: i32, mask: u64): void {
  advance(p, RCX, mask, 0)
  if (op == MOVS) advance(p, RSI, mask, 0)
  if (op == MOVS || op == STOS) advance(p, RDI, mask, 0)
}

// @ts-ignore: decorator
@inline
function backward(p: u32): bool {
  return (load<u32>(p, SYSFLAGS) & FLAG_DF) != 0
}

// @ts-ignore: decorator
@inline
function step(p: u32, size: i32): u64 {
  return backward(p) ? -(<u64>size) : <u64>size
}

// @ts-ignore: decorator
@inline
function sourceSize(seg: i32, size: i32): i32 {
  return seg == SEG_SS ? size | STACK : size
}

function setAccumulator(p: u32, size: i32, value: u64): void {
  if (size == 1) store<u8>(p, <u8>value, RAX)
  else if (size == 2) store<u16>(p, <u16>value, RAX)
  else store<u64>(p, value, RAX)
}

// @ts-ignore: decorator
@inline
function extend(value: u64, size: i32): u64 {
  const shift = 64 - (size << 3)
  return <u64>(<i64>(value << shift) >> shift)
}

/** The flags of a - b. */
function compare(p: u32, a: u64, b: u64, size: i32): void {
  store<i32>(p, <i32>(FK_SUB << 2) | ctz(size), FLAGS_KIND)
  store<u64>(p, extend(b, size), FLAGS_B)
  store<u64>(p, extend(a - b, size), FLAGS_RES)
}

/** One element: 0, or 1 after a fault, with nothing changed. */
function element(p: u32, op: i32, size: i32, seg: i32, mask: u64): i32 {
  if (op == INS) return input(p, size, mask)
  if (op == OUTS) return output(p, size, seg, mask)
  const by = step(p, size)
  let target: u64 = 0
  if (op == CMPS || op == SCAS) {
    // CMPS reads the second operand first (seen on hardware).
    const linear = segLinear(p, SEG_ES, load<u64>(p, RDI) & mask, size, 0)
    if (faulted(p)) return 1
    target = slowLoad(p, linear, size)
    if (faulted(p)) return 1
  }
  let source: u64 = 0
  if (op == MOVS || op == LODS || op == CMPS) {
    const linear = segLinear(p, seg, load<u64>(p, RSI) & mask, size, 0)
    if (faulted(p)) return 1
    source = slowLoad(p, linear, sourceSize(seg, size))
    if (faulted(p)) return 1
  } else source = load<u64>(p, RAX)

  if (op == LODS) setAccumulator(p, size, source)
  else {
    if (op == MOVS || op == STOS) {
      const linear = segLinear(p, SEG_ES, load<u64>(p, RDI) & mask, size, 1)
      if (faulted(p) || slowStore(p, linear, size, source)) return 1
    } else compare(p, source, target, size)
    advance(p, RDI, mask, by)
  }
  if (op != STOS && op != SCAS) advance(p, RSI, mask, by)
  return 0
}

function input(p: u32, size: i32, mask: u64): i32 {
  const port = load<u16>(p, RDX)
  if (checkIo(p, port, size)) return 1
  const linear = segLinear(p, SEG_ES, load<u64>(p, RDI) & mask, size, 1)
  if (faulted(p) || probeWrite(p, linear, size) == PROBE_FAULT) return 1
  slowStore(p, linear, size, <u64><u32>hostPortIn(p, port, size))
  advance(p, RDI, mask, step(p, size))
  return 0
}

function output(p: u32, size: i32, seg: i32, mask: u64): i32 {
  const port = load<u16>(p, RDX)
  if (checkIo(p, port, size)) return 1
  const linear = segLinear(p, seg, load<u64>(p, RSI) & mask, size, 0)
  if (faulted(p)) return 1
  const value = slowLoad(p, linear, sourceSize(seg, size))
  if (faulted(p)) return 1
  hostPortOut(p, port, size, <i32>value)
  advance(p, RSI, mask, step(p, size))
  return 0
}

/** Whether one check at a run's first element holds for the rest: 64-bit mode, or a segment of 4 GiB. */
// @ts-ignore: decorator
@inline
function unlimited(p: u32, seg: i32): bool {
  return (
    (load<u32>(p, MODE) & MODE_LONG) != 0 ||
    (load<u32>(p + (seg << 2), SEG_LIMIT) == 0xffffffff &&
      (load<u32>(p + (seg << 2), SEG_ATTR) & (EXPAND | CODE)) != EXPAND)
  )
}

/** Elements from `linear` on, in the current direction, that lie in its page and do not wrap around `mask`. */
function span(linear: u64, offset: u64, size: u64, mask: u64, down: bool): u64 {
  const inPage = linear & 0xfff
  if (inPage + size > 0x1000 || mask - offset < size - 1) return 0
  if (down) return min(inPage, offset) / size + 1
  return (min(0xfff - inPage, mask - offset) + 1) / size
}

/** The page must be read element by element. */
// @ts-ignore: decorator
@inline
function unreadable(kind: u32): bool {
  return kind == PAGE_MMIO || (kind & PAGE_READS) != 0
}

/** Something faults: an element by itself finds out what faults first. */
function leaveFault(p: u32): u64 {
  store<i32>(p, -1, EXC)
  return NO_RUN
}

/** Up to `most` elements at once: how many, or NO_RUN. */
function run(p: u32, op: i32, size: i32, seg: i32, mask: u64, most: u64, repeat: i32): u64 {
  if (op == INS || op == OUTS || alignmentChecked(p)) return NO_RUN
  const hasSource = op == MOVS || op == LODS || op == CMPS
  const hasTarget = op != LODS
  const writes = op == MOVS || op == STOS
  if ((hasSource && !unlimited(p, seg)) || (hasTarget && !unlimited(p, SEG_ES))) return NO_RUN
  const down = backward(p)
  const bank = currentBank(p)
  let n = most
  let source: u64 = 0
  let target: u64 = 0
  if (hasSource) {
    const offset = load<u64>(p, RSI) & mask
    source = segLinear(p, seg, offset, size, 0)
    if (faulted(p)) return leaveFault(p)
    n = min(n, span(source, offset, size, mask, down))
  }
  if (hasTarget) {
    const offset = load<u64>(p, RDI) & mask
    target = segLinear(p, SEG_ES, offset, size, writes ? 1 : 0)
    if (faulted(p)) return leaveFault(p)
    n = min(n, span(target, offset, size, mask, down))
  }
  if (n < 2) return NO_RUN

  if (hasSource) {
    const frame = translateRead(p, source, bank)
    if (frame == WALK_FAULT) return leaveFault(p)
    if (unreadable(pageKind(frame >>> 12))) return NO_RUN
    source = frame | (source & 0xfff)
  }
  if (hasTarget) {
    const frame = writes ? translateWrite(p, target, bank) : translateRead(p, target, bank)
    if (frame == WALK_FAULT) return leaveFault(p)
    const kind = pageKind(frame >>> 12)
    if (writes ? kind != PAGE_RAM : unreadable(kind)) return NO_RUN
    target = frame | (target & 0xfff)
  }
  const bytes = <u32>n * size
  const back: u32 = down ? bytes - size : 0
  if (writes) beforeWrite(p, <u32>target - back, bytes)
  const from = hostAddress(source)
  const to = hostAddress(target)
  if (op == MOVS) copy(from, to, bytes, size, down)
  else if (op == STOS) fill(to - back, bytes, size, load<u64>(p, RAX))
  else if (op == LODS) setAccumulator(p, size, loadElement(down ? from - back : from + bytes - size, size))
  else n = search(p, op == CMPS, from, to, <u32>n, size, down, repeat == REPE)

  const by = n * step(p, size)
  if (hasSource) advance(p, RSI, mask, by)
  if (hasTarget) advance(p, RDI, mask, by)
  return n
}

// @ts-ignore: decorator
@inline
function loadElement(host: u32, size: i32): u64 {
  switch (size) {
    case 1: return <u64>load<u8>(host)
    case 2: return <u64>load<u16>(host)
    case 4: return <u64>load<u32>(host)
  }
  return load<u64>(host)
}

// @ts-ignore: decorator
@inline
function storeElement(host: u32, size: i32, value: u64): void {
  switch (size) {
    case 1: store<u8>(host, <u8>value); return
    case 2: store<u16>(host, <u16>value); return
    case 4: store<u32>(host, <u32>value); return
  }
  store<u64>(host, value)
}

/** Copy `bytes` from the elements at `from` and `to` on; one by one where one reads what an earlier one wrote. */
function copy(from: u32, to: u32, bytes: u32, size: i32, down: bool): void {
  const ahead = down ? from - to : to - from
  if (ahead != 0 && ahead < bytes) {
    const by = down ? -size : size
    for (let done: u32 = 0; done < bytes; done += size) {
      storeElement(to, size, loadElement(from, size))
      from += by
      to += by
    }
    return
  }
  const back: u32 = down ? bytes - size : 0
  memory.copy(to - back, from - back, bytes)
}

function fill(start: u32, bytes: u32, size: i32, value: u64): void {
  const low = extend(value, size)
  if (low == extend((<u64><u8>value) * 0x0101010101010101, size)) {
    memory.fill(start, <u8>value, bytes)
    return
  }
  for (let done: u32 = 0; done < bytes; done += size) storeElement(start + done, size, value)
}

/** Compare up to `n` elements while they are equal (`equal`) or unequal: how many were compared; flags of the last. */
function search(p: u32, strings: bool, from: u32, to: u32, n: u32, size: i32, down: bool, equal: bool): u64 {
  const by = down ? -size : size
  const accumulator = load<u64>(p, RAX) & (<u64>-1 >>> (64 - (size << 3)))
  let a: u64 = 0
  let b: u64 = 0
  let done: u32 = 0
  do {
    a = strings ? loadElement(from, size) : accumulator
    b = loadElement(to, size)
    from += by
    to += by
    done++
  } while (done < n && (a == b) == equal)
  compare(p, a, b, size)
  return done
}
