/** start_info of a PV domain (xen/xen.h) as the toolstack fills it. */
const CMDLINE = 0x80
const CMDLINE_BYTES = 1024

/** Flags. */
export const SIF = { MOD_START_PFN: 8, VIRT_P2M_4TOOLS: 0x10 } as const

export interface StartInfo {
  readonly pages: number
  /** Machine address. */
  readonly sharedInfo: number
  readonly flags: number
  readonly store: { readonly frame: number; readonly port: number }
  readonly console: { readonly frame: number; readonly port: number }
  readonly tables: { readonly address: bigint; readonly count: number }
  readonly p2m: bigint
  /** Address of the initrd, or its page with MOD_START_PFN. */
  readonly module: { readonly start: bigint; readonly length: number }
  readonly cmdline: Uint8Array
  /** Pages of the p2m list and its page tables, where it has a place of its own. */
  readonly p2mPages: { readonly first: number; readonly count: number }
}

export function startInfo(info: StartInfo): Uint8Array {
  const page = new Uint8Array(4096)
  const view = new DataView(page.buffer)
  const long = (at: number, value: number | bigint) => view.setBigUint64(at, BigInt(value), true)
  page.set(new TextEncoder().encode('xen-3.0-x86_64'))
  long(0x20, info.pages)
  long(0x28, info.sharedInfo)
  view.setUint32(0x30, info.flags, true)
  long(0x38, info.store.frame)
  view.setUint32(0x40, info.store.port, true)
  long(0x48, info.console.frame)
  view.setUint32(0x50, info.console.port, true)
  long(0x58, info.tables.address)
  long(0x60, info.tables.count)
  long(0x68, info.p2m)
  long(0x70, info.module.start)
  long(0x78, info.module.length)
  page.set(info.cmdline.subarray(0, CMDLINE_BYTES - 1), CMDLINE)
  long(0x480, info.p2mPages.first)
  long(0x488, info.p2mPages.count)
  return page
}
