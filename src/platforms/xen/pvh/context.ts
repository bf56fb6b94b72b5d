/** vcpu_hvm_context (xen/hvm/hvm_vcpu.h): the state in which VCPUOP_initialise lets a vCPU of a PVH guest begin. */
import type { EntryState, SegmentRegister } from '../../../boot/layout.ts'
import { struct } from '../struct.ts'

const MODE_32B = 0
const MODE_64B = 1
const REGISTERS = 8

/** The registers follow the mode; both forms begin there. */
const x86_32 = struct({
  eax: 'u32',
  ecx: 'u32',
  edx: 'u32',
  ebx: 'u32',
  esp: 'u32',
  ebp: 'u32',
  esi: 'u32',
  edi: 'u32',
  eip: 'u32',
  eflags: 'u32',
  cr0: 'u32',
  cr3: 'u32',
  cr4: 'u32',
  pad1: 'u32',
  efer: 'u64',
  cs_base: 'u32',
  ds_base: 'u32',
  ss_base: 'u32',
  es_base: 'u32',
  tr_base: 'u32',
  cs_limit: 'u32',
  ds_limit: 'u32',
  ss_limit: 'u32',
  es_limit: 'u32',
  tr_limit: 'u32',
  cs_ar: 'u16',
  ds_ar: 'u16',
  ss_ar: 'u16',
  es_ar: 'u16',
  tr_ar: 'u16',
  pad2a: 'u16',
  pad2b: 'u16',
  pad2c: 'u16',
})
const x86_64 = struct({
  rax: 'u64',
  rcx: 'u64',
  rdx: 'u64',
  rbx: 'u64',
  rsp: 'u64',
  rbp: 'u64',
  rsi: 'u64',
  rdi: 'u64',
  rip: 'u64',
  rflags: 'u64',
  cr0: 'u64',
  cr3: 'u64',
  cr4: 'u64',
  efer: 'u64',
})
export const contextBytes = REGISTERS + Math.max(x86_32.wide, x86_64.wide)

const PG = 1n << 31n
const PAE = 1n << 5n
const LME = 1n << 8n
const LMA = 1n << 10n
/** SCE, LME, LMA, NX. */
const EFER_VALID = 0xd01n
/** VME to PGE but no MCE extras: what the processor has; SMEP and SMAP, FSGSBASE, PCIDE, OSXSAVE, OSFXSR, UMIP. */
const CR4_VALID = 0x370fffn

const PRESENT = 0x80
const CODE_OR_DATA = 0x10
const CODE = 8
const WRITABLE = 2
const GRANULAR = 0x800
const BUSY_TSS = 0xb

/** Undefined: no processor could be in this state. */
export function entryOfContext(bytes: Uint8Array): EntryState | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(4, true) !== 0) return undefined
  const mode = view.getUint32(0, true)
  if (mode === MODE_32B) return protectedEntry(view)
  return mode === MODE_64B ? longEntry(view) : undefined
}

const flat = (attributes: number, limit = 0xffffffff): SegmentRegister => ({ selector: 0, base: 0, limit, attributes })

function longEntry(view: DataView): EntryState | undefined {
  const get = (name: keyof typeof x86_64.fields) => view.getBigUint64(REGISTERS + x86_64.fields[name].wide, true)
  const [cr0, cr4, efer, rip] = [get('cr0'), get('cr4'), get('efer'), get('rip')]
  if (BigInt.asUintN(64, BigInt.asIntN(48, rip)) !== rip) return undefined
  if (!(cr0 & PG) || !(cr4 & PAE) || !(efer & LME) || !valid(cr4, efer)) return undefined
  return {
    mode: 'long',
    rip,
    rax: 0,
    rbx: 0,
    rsi: 0,
    rflags: Number(get('rflags') & 0xffffffffn),
    cr0: Number(BigInt.asUintN(32, cr0)),
    cr3: Number(BigInt.asUintN(52, get('cr3'))),
    cr4: Number(cr4),
    efer: Number(efer | LMA),
    gdtr: { base: 0, limit: 0 },
    cs: flat(0xa9b),
    data: flat(0xc93),
    tr: flat(0x8b, 0x67),
    others: {
      rax: get('rax'),
      rbx: get('rbx'),
      rsi: get('rsi'),
      rcx: get('rcx'),
      rdx: get('rdx'),
      rsp: get('rsp'),
      rbp: get('rbp'),
      rdi: get('rdi'),
    },
  }
}

type Segment = 'cs' | 'ds' | 'ss' | 'es' | 'tr'

function protectedEntry(view: DataView): EntryState | undefined {
  const { fields: f } = x86_32
  const word = (name: keyof typeof f) => view.getUint32(REGISTERS + f[name].wide, true)
  const half = (name: keyof typeof f) => view.getUint16(REGISTERS + f[name].wide, true)
  const segment = (name: Segment): SegmentRegister => {
    const given = half(`${name}_ar`)
    // Accessed, or busy.
    const attributes = given & PRESENT ? given | (name === 'tr' ? 2 : 1) : given
    return { selector: 0, base: word(`${name}_base`), limit: word(`${name}_limit`), attributes }
  }
  if (word('pad1') !== 0 || half('pad2a') !== 0 || half('pad2b') !== 0 || half('pad2c') !== 0) return undefined
  const [cs, ds, ss, es, tr] = [segment('cs'), segment('ds'), segment('ss'), segment('es'), segment('tr')]
  if (!usable(cs, 'cs') || !usable(ds, 'ds') || !usable(ss, 'ss') || !usable(es, 'es') || !usable(tr, 'tr'))
    return undefined
  const limit = cs.attributes & GRANULAR ? cs.limit * 4096 + 4095 : cs.limit
  if (word('eip') > limit || level(ss) !== level(cs)) return undefined
  if ([ds, es].some((each) => each.attributes & PRESENT && level(each) > level(cs))) return undefined
  const cr4 = BigInt(word('cr4'))
  const efer = view.getBigUint64(REGISTERS + f.efer.wide, true)
  if ((efer & LMA) !== 0n && (efer & LME) === 0n) return undefined
  const full = efer & LME ? efer | LMA : efer
  if (!valid(cr4, full)) return undefined
  const bytes = (each: SegmentRegister): SegmentRegister => ({
    ...each,
    limit: each.attributes & GRANULAR ? (each.limit * 4096 + 4095) % 2 ** 32 : each.limit,
  })
  return {
    mode: 'protected',
    rip: word('eip'),
    rax: word('eax'),
    rbx: word('ebx'),
    rsi: word('esi'),
    rflags: word('eflags'),
    cr0: word('cr0'),
    cr3: word('cr3'),
    cr4: Number(cr4),
    efer: Number(full),
    gdtr: { base: 0, limit: 0 },
    cs: bytes(cs),
    data: bytes(ds),
    segments: { ss: bytes(ss), es: bytes(es) },
    tr: bytes(tr),
    others: {
      rcx: BigInt(word('ecx')),
      rdx: BigInt(word('edx')),
      rsp: BigInt(word('esp')),
      rbp: BigInt(word('ebp')),
      rdi: BigInt(word('edi')),
    },
  }
}

const level = ({ attributes }: SegmentRegister): number => (attributes >> 5) & 3
const valid = (cr4: bigint, efer: bigint): boolean => (cr4 & ~CR4_VALID) === 0n && (efer & ~EFER_VALID) === 0n

/** The checks that Xen makes of each segment's attributes. */
function usable({ attributes }: SegmentRegister, name: Segment): boolean {
  if (attributes & 0xf000) return false
  if (attributes === 0) return name === 'ds' || name === 'es'
  const type = attributes & 0xf
  if (name === 'tr' ? attributes & CODE_OR_DATA || type !== BUSY_TSS : !(attributes & CODE_OR_DATA)) return false
  if (!(attributes & PRESENT)) return false
  if (name === 'cs') return (type & CODE) !== 0
  if (name === 'ss') return (type & CODE) === 0 && (type & WRITABLE) !== 0
  return name === 'tr' || !(type & CODE) || (type & WRITABLE) !== 0
}
