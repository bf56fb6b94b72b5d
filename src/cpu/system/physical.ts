/**
 * Guest-physical memory: RAM, ROM and MMIO behind one set of reads and writes. Every write to guest memory by anyone
 * ends in `physWrite`, `physCopyIn` or `physFill`, or announces itself with `beforeWrite`, so that decoded code never
 * outlives its bytes.
 */
import {
  CODE_EPOCH, LEAVE, LEAVE_CODE, M_CODE_MARKS, M_PAGE_ATTR, M_RAM, M_RAM_PAGES, PAGE_ABSENT, PAGE_MMIO, PAGE_RAM,
  PAGE_READS, PAGE_WATCHED,
} from './layout'
import { hostBring, hostCodeWritten, hostMmioRead, hostMmioWrite, hostWatchedLoad, hostWatchedStore } from './host'

/** What backs physical page number `page`: a PageAttr value. Ask it before any access: then the page is in memory. */
// @ts-ignore: decorator
@inline
export function pageKind(page: u64): u32 {
  return page < <u64>load<u32>(M_RAM_PAGES) ? present(<u32>page, <u32>load<u8>(M_PAGE_ATTR + <u32>page)) : PAGE_MMIO
}

// @ts-ignore: decorator
@inline
function present(page: u32, kind: u32): u32 {
  return (kind & PAGE_ABSENT) != 0 ? hostBring(page) : kind
}

/** One bit for each 64-byte line of a page of RAM that holds decoded code. */
// @ts-ignore: decorator
@inline
export function codeMarks(page: u32): u64 {
  return load<u64>(M_CODE_MARKS + (page << 3))
}

/** Host address of a physical address in RAM or ROM. */
// @ts-ignore: decorator
@inline
export function hostAddress(pa: u64): u32 {
  return M_RAM + <u32>pa
}

/** Bytes [pa, pa + length) of one page of RAM are about to change. */
// @ts-ignore: decorator
@inline
function touch(p: u32, pa: u32, length: u32): void {
  const marks = codeMarks(pa >>> 12)
  if (marks != 0) touchMarked(p, pa, length, marks)
}

function touchMarked(p: u32, pa: u32, length: u32, marks: u64): void {
  const first = (pa & 0xfff) >>> 6
  const last = ((pa & 0xfff) + length - 1) >>> 6
  const lines = (<u64>-1 << first) & (<u64>-1 >>> (63 - last))
  if ((marks & lines) == 0) return
  hostCodeWritten(p, pa >>> 12)
  store<i64>(p, load<i64>(p, CODE_EPOCH) + 1, CODE_EPOCH)
  store<u32>(p, load<u32>(p, LEAVE) | LEAVE_CODE, LEAVE)
}

/** Read 1 to 8 bytes that lie in one page, zero-extended. */
export function physRead(p: u32, pa: u64, size: i32): u64 {
  const kind = pageKind(pa >>> 12)
  if (kind != PAGE_RAM) {
    if (kind == PAGE_MMIO) return mmioRead(p, pa, size)
    if (kind & PAGE_READS) hostWatchedLoad(p, <u32>pa, size)
  }
  const host = hostAddress(pa)
  switch (size) {
    case 1: return <u64>load<u8>(host)
    case 2: return <u64>load<u16>(host)
    case 4: return <u64>load<u32>(host)
    case 8: return load<u64>(host)
  }
  let value: u64 = 0
  for (let i = 0; i < size; i++) value |= <u64>load<u8>(host + i) << (i << 3)
  return value
}

/** Write the low 1 to 8 bytes of `value`; they lie in one page. Writes to ROM and to sealed pages are lost. */
export function physWrite(p: u32, pa: u64, size: i32, value: u64): void {
  const kind = pageKind(pa >>> 12)
  if (kind & PAGE_WATCHED) hostWatchedStore(p, <u32>pa, size, <i32>value)
  else if (kind != PAGE_RAM) {
    if (kind == PAGE_MMIO) mmioWrite(p, pa, size, value)
    return
  }
  ramWrite(p, pa, size, value)
}

/** The processor's own write of 4 or 8 bytes to a page-table entry. Nobody watches those. */
export function tableWrite(p: u32, pa: u64, size: i32, value: u64): void {
  if (pageKind(pa >>> 12) & PAGE_WATCHED) ramWrite(p, pa, size, value)
  else physWrite(p, pa, size, value)
}

function ramWrite(p: u32, pa: u64, size: i32, value: u64): void {
  touch(p, <u32>pa, size)
  const host = hostAddress(pa)
  switch (size) {
    case 1: store<u8>(host, <u8>value); return
    case 2: store<u16>(host, <u16>value); return
    case 4: store<u32>(host, <u32>value); return
    case 8: store<u64>(host, value); return
  }
  for (let i = 0; i < size; i++) store<u8>(host + i, <u8>(value >>> (i << 3)))
}

/** Largest naturally aligned bus access of at most `left` and 4 bytes at `pa`. */
function busSize(pa: u64, left: i32): i32 {
  const low = <i32>pa
  if (left >= 4 && (low & 3) == 0) return 4
  return left >= 2 && (low & 1) == 0 ? 2 : 1
}

function mmioRead(p: u32, pa: u64, size: i32): u64 {
  let value: u64 = 0
  for (let done = 0; done < size;) {
    const n = busSize(pa + done, size - done)
    const part = hostMmioRead(p, <f64>(pa + done), n)
    value |= (<u64><u32>part & (<u64>-1 >>> (64 - (n << 3)))) << (done << 3)
    done += n
  }
  return value
}

function mmioWrite(p: u32, pa: u64, size: i32, value: u64): void {
  for (let done = 0; done < size;) {
    const n = busSize(pa + done, size - done)
    hostMmioWrite(p, <f64>(pa + done), n, <i32>((value >>> (done << 3)) & (<u64>-1 >>> (64 - (n << 3)))))
    done += n
  }
}

/** Copy `length` bytes at host address `source` into guest memory at `pa`; the source is not where they go. */
export function physCopyIn(p: u32, pa: u64, source: u32, length: u32): void {
  while (length != 0) {
    const n = min(length, 0x1000 - (<u32>pa & 0xfff))
    const kind = pageKind(pa >>> 12)
    if (kind & PAGE_WATCHED) hostWatchedStore(p, <u32>pa, n, 0)
    if (kind == PAGE_RAM || (kind & PAGE_WATCHED) != 0) {
      touch(p, <u32>pa, n)
      memory.copy(hostAddress(pa), source, n)
    } else if (kind == PAGE_MMIO) {
      for (let done: u32 = 0; done < n;) {
        const size: u32 = min(8 - (<u32>(pa + done) & 7), n - done)
        let value: u64 = 0
        for (let i: u32 = 0; i < size; i++) value |= <u64>load<u8>(source + done + i) << (i << 3)
        mmioWrite(p, pa + done, size, value)
        done += size
      }
    }
    pa += n
    source += n
    length -= n
  }
}

/** Copy `length` bytes of guest memory at `pa` to host address `target`. */
export function physCopyOut(p: u32, target: u32, pa: u64, length: u32): void {
  while (length != 0) {
    const n = min(length, 0x1000 - (<u32>pa & 0xfff))
    const kind = pageKind(pa >>> 12)
    if (kind & PAGE_READS) hostWatchedLoad(p, <u32>pa, n)
    if (kind != PAGE_MMIO) memory.copy(target, hostAddress(pa), n)
    else {
      for (let done: u32 = 0; done < n;) {
        const size: u32 = min(8 - (<u32>(pa + done) & 7), n - done)
        const value = mmioRead(p, pa + done, size)
        for (let i: u32 = 0; i < size; i++) store<u8>(target + done + i, <u8>(value >>> (i << 3)))
        done += size
      }
    }
    pa += n
    target += n
    length -= n
  }
}

/** Fill `length` bytes of guest memory at `pa` with one byte value. */
export function physFill(p: u32, pa: u64, value: i32, length: u32): void {
  while (length != 0) {
    const n = min(length, 0x1000 - (<u32>pa & 0xfff))
    const kind = pageKind(pa >>> 12)
    if (kind & PAGE_WATCHED) hostWatchedStore(p, <u32>pa, n, 0)
    if (kind == PAGE_RAM || (kind & PAGE_WATCHED) != 0) {
      touch(p, <u32>pa, n)
      memory.fill(hostAddress(pa), <u8>value, n)
    } else if (kind == PAGE_MMIO) {
      for (let i: u32 = 0; i < n; i++) mmioWrite(p, pa + i, 1, <u64><u8>value)
    }
    pa += n
    length -= n
  }
}

/** For the host, whose own stores into RAM (device DMA, loaders) bypass the functions above: call it before them. */
export function beforeWrite(p: u32, pa: u32, length: u32): void {
  while (length != 0) {
    const n = min(length, 0x1000 - (pa & 0xfff))
    touch(p, pa, n)
    pa += n
    length -= n
  }
}
