/** start_info of a PV domain (xen/xen.h) as the toolstack fills it. */
const CMDLINE_BYTES = 1024

/** Offsets and width of its members; 32-bit guests' have words of 4 bytes. */
const layouts = {
  64: {
    magic: 'xen-3.0-x86_64',
    word: 8,
    flags: 0x30,
    store: [0x38, 0x40],
    console: [0x48, 0x50],
    rest: 0x58,
    cmdline: 0x80,
    p2mPages: 0x480,
  },
  32: {
    magic: 'xen-3.0-x86_32p',
    word: 4,
    flags: 0x28,
    store: [0x2c, 0x30],
    console: [0x34, 0x38],
    rest: 0x3c,
    cmdline: 0x50,
    p2mPages: 0x450,
  },
} as const

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

export function startInfo(bits: 32 | 64, info: StartInfo): Uint8Array {
  const at = layouts[bits]
  const page = new Uint8Array(4096)
  const view = new DataView(page.buffer)
  const long = (offset: number, value: number | bigint) => {
    if (bits === 64) view.setBigUint64(offset, BigInt(value), true)
    else view.setUint32(offset, Number(BigInt.asUintN(32, BigInt(value))), true)
  }
  page.set(new TextEncoder().encode(at.magic))
  long(0x20, info.pages)
  long(0x20 + at.word, info.sharedInfo)
  view.setUint32(at.flags, info.flags, true)
  long(at.store[0], info.store.frame)
  view.setUint32(at.store[1], info.store.port, true)
  long(at.console[0], info.console.frame)
  view.setUint32(at.console[1], info.console.port, true)
  const { tables, p2m, module } = info
  for (const [i, value] of [tables.address, tables.count, p2m, module.start, module.length].entries())
    long(at.rest + i * at.word, value)
  page.set(info.cmdline.subarray(0, CMDLINE_BYTES - 1), at.cmdline)
  long(at.p2mPages, info.p2mPages.first)
  long(at.p2mPages + at.word, info.p2mPages.count)
  return page
}
