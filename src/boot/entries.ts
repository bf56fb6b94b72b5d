/** What is known of a kernel, and the ways into it. */
import type { BzImage } from './bzimage.ts'
import { parseElf, type Elf } from './elf.ts'
import { isMultiboot } from './multiboot.ts'
import type { Compression } from './formats.ts'

/**
 * The ways into a kernel. `pvh`, `64` and `32` enter the unpacked kernel: its PVH entry, startup_64 or startup_32.
 * `multiboot` enters an ELF file that is no Linux. `image64` and `image32` enter the bzImage's own decompressor.
 */
export type Method = 'pvh' | 'multiboot' | '64' | '32' | 'image64' | 'image32'

/** In the order of preference. */
export const methods: readonly Method[] = ['pvh', 'multiboot', '64', '32', 'image64', 'image32']

export interface Kernel {
  /** What it was loaded from, for messages. */
  name: string
  /** What it calls itself: the release, then who built it and when. */
  readonly version: string
  bits: 32 | 64
  /** How a bzImage's payload is packed. */
  compression: Compression | undefined
  /** The unpacked kernel; undefined if it can only unpack itself. */
  elf: Elf | undefined
  image: BzImage | undefined
  /** The methods that work, with the physical address where each enters the kernel. */
  entries: Readonly<Partial<Record<Method, number>>>
}

/** Of an unpacked kernel. Throws BootError for what is none. */
export function elfKernel(bytes: Uint8Array, name: string): Kernel {
  const elf = parseElf(bytes, name)
  const kernel = describe(name, () => bannerIn(elf), undefined, elf, undefined)
  if (isMultiboot(bytes, name)) kernel.entries = { ...kernel.entries, multiboot: elf.entry }
  return kernel
}

/** `version` is asked for only by whoever wants to know it: looking for it takes a while. */
export function describe(
  name: string,
  version: () => string,
  compression: Compression | undefined,
  elf: Elf | undefined,
  image: BzImage | undefined,
): Kernel {
  const entries: Partial<Record<Method, number>> = {}
  if (elf) {
    if (elf.pvh !== undefined) entries.pvh = elf.pvh
    entries[elf.bits === 64 ? '64' : '32'] = elf.entry
  }
  if (image) {
    if (image.has64BitEntry) entries.image64 = image.prefAddress + 0x200
    entries.image32 = image.prefAddress
  }
  return {
    name,
    get version() {
      return version()
    },
    bits: elf?.bits ?? (image?.has64BitEntry ? 64 : 32),
    compression,
    elf,
    image,
    entries,
  }
}

const BANNER = new TextEncoder().encode('Linux version ')
/** Its letter that is rarest in code: L is a prefix of 64-bit instructions. */
const RARE = 'Linux'.indexOf('x')

/** An unpacked kernel says what it is in the banner that it prints first. */
function bannerIn({ segments }: Elf): string {
  const rare = BANNER[RARE] as number
  for (const { bytes } of segments)
    for (let found = bytes.indexOf(rare); found >= 0; found = bytes.indexOf(rare, found + 1)) {
      const at = found - RARE
      if (!BANNER.every((byte, i) => bytes[at + i] === byte)) continue
      const text = new TextDecoder('latin1').decode(bytes.subarray(at + BANNER.length, at + 512))
      if (/^\d/.test(text)) return /^[\x20-\x7e]*/.exec(text)![0]
    }
  return 'unknown'
}
