/**
 * XSAVE, XSAVEOPT and XRSTOR in the standard format with the x87 and SSE components (SDM Vol. 1 13). Both components
 * always count as in use, which the SDM allows (13.6): XSAVEOPT then saves what XSAVE does.
 */
import { CR0, CR4, FPR, MODE, MODE_LONG, MXCSR, RAX, RDX, SCRATCH, VEC0, XCR0 } from './layout'
import { CR0_TS, CR4_OSXSAVE, GP, UD } from './bits'
import { raiseNoError } from './faults'
import { loadBytes, PROBE_FAULT, probeWrite, slowLoad, slowStore, storeBytes } from './access'
import { fault, faulted } from './segments'
import { x87Init } from './x87-control'
import { fxLoadX87, fxStoreX87 } from './x87-image'

const NM: i32 = 7

const X87: u64 = 1
const SSE: u64 = 2

// The legacy region of the area, and the header after it.
const MXCSR_AT: u32 = 24
const STACK_AT: u32 = 32
const XMM_AT: u32 = 160
const LEGACY_SIZE: u32 = 416
const HEADER_AT: u32 = 512
const AREA_SIZE: u32 = 576
const MXCSR_MASK: u32 = 0xffff

/** Bytes of XMM registers that exist in the present mode. */
function xmmSize(p: u32): u32 {
  return load<u32>(p, MODE) & MODE_LONG ? 256 : 128
}

/** The components asked for in EDX:EAX and enabled in XCR0. */
function requested(p: u32): u64 {
  return (<u64>load<u32>(p, RAX) | (<u64>load<u32>(p, RDX) << 32)) & load<u64>(p, XCR0)
}

/** Before all else: #UD without CR4.OSXSAVE, #NM with CR0.TS. */
export function checkXsave(p: u32): i32 {
  if ((load<u64>(p, CR4) & CR4_OSXSAVE) == 0) {
    raiseNoError(p, UD)
    return 1
  }
  if (load<u64>(p, CR0) & CR0_TS) {
    raiseNoError(p, NM)
    return 1
  }
  return 0
}

/** XSAVE and XSAVEOPT to `linear`; `wide` with REX.W. Bytes of components that are not asked for stay. */
export function xsave(p: u32, linear: u64, wide: i32): i32 {
  if (linear & 63) return fault(p, GP, 0)
  const old = slowLoad(p, linear + HEADER_AT, 8)
  if (faulted(p)) return 1
  // The area lies in two pages at most.
  if (probeWrite(p, linear, 1) == PROBE_FAULT || probeWrite(p, linear + AREA_SIZE - 1, 1) == PROBE_FAULT) return 1
  const components = requested(p)
  const image = p + SCRATCH
  if (components & X87) {
    memory.fill(image, 0, XMM_AT)
    fxStoreX87(p, image, wide)
    if (storeBytes(p, linear, MXCSR_AT, false, image)) return 1
    if (storeBytes(p, linear + STACK_AT, XMM_AT - STACK_AT, false, image + STACK_AT)) return 1
  }
  if (components & SSE) {
    const mxcsr = <u64>load<u32>(p, MXCSR) | (<u64>MXCSR_MASK << 32)
    if (slowStore(p, linear + MXCSR_AT, 8, mxcsr)) return 1
    if (storeBytes(p, linear + XMM_AT, xmmSize(p), false, p + VEC0)) return 1
  }
  return slowStore(p, linear + HEADER_AT, 8, old | components)
}

/** XRSTOR from `linear`: components that the header does not have are initialized. */
export function xrstor(p: u32, linear: u64, wide: i32): i32 {
  if (linear & 63) return fault(p, GP, 0)
  const image = p + SCRATCH
  if (loadBytes(p, linear, LEGACY_SIZE, false, image)) return 1
  const present = slowLoad(p, linear + HEADER_AT, 8)
  if (faulted(p)) return 1
  const compaction = slowLoad(p, linear + HEADER_AT + 8, 8)
  if (faulted(p)) return 1
  const reserved = slowLoad(p, linear + HEADER_AT + 16, 8)
  if (faulted(p)) return 1
  const components = requested(p)
  const mxcsr = load<u32>(image, MXCSR_AT)
  if ((present & ~load<u64>(p, XCR0)) != 0 || (compaction | reserved) != 0) return fault(p, GP, 0)
  if ((components & SSE) != 0 && (mxcsr & ~MXCSR_MASK) != 0) return fault(p, GP, 0)

  if (components & X87) {
    if (present & X87) fxLoadX87(p, image, wide)
    else {
      x87Init(p)
      memory.fill(p + FPR, 0, 128)
    }
  }
  if (components & SSE) {
    store<u32>(p, mxcsr, MXCSR)
    if (present & SSE) memory.copy(p + VEC0, image + XMM_AT, xmmSize(p))
    else memory.fill(p + VEC0, 0, xmmSize(p))
  }
  return 0
}
