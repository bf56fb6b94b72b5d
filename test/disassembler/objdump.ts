/** The disassembler's lines beside those of objdump, over the same bytes. */
import { execFileSync } from 'node:child_process'
import type { Disassembler } from '../../src/cpu/disassemble/disassembler.ts'
import { Mode } from '../../src/cpu/layout.ts'

const objdumpModes = { 64: 'i386:x86-64', 32: 'i386', 16: 'i8086' } as const
const modeWords = {
  64: Mode.LONG | Mode.D | Mode.B | Mode.FLAT,
  32: Mode.D | Mode.B | Mode.FLAT,
  16: 0,
} as const
export type Bits = keyof typeof modeWords

interface Line {
  address: number
  bytes: Uint8Array
  text: string
}

/** What objdump makes of a file of plain code at `address`. */
export function objdump(file: string, bits: Bits, address = 0): Line[] {
  const output = execFileSync(
    'objdump',
    ['-D', '-b', 'binary', '-M', 'intel', '-m', objdumpModes[bits], '--insn-width=16', `--adjust-vma=${address}`, file],
    { encoding: 'latin1', maxBuffer: 1 << 30 },
  )
  const lines: Line[] = []
  for (const line of output.split('\n')) {
    const match = /^\s*([0-9a-f]+):\t([0-9a-f ]+?)\s*\t(.*)$/.exec(line)
    if (!match) continue
    const [, at = '', bytes = '', text = ''] = match
    lines.push({ address: parseInt(at, 16), bytes: Buffer.from(bytes.replaceAll(' ', ''), 'hex'), text: plain(text) })
  }
  return lines
}

const plain = (text: string) => text.trim().replace(/\s+/g, ' ')

/** Prefixes that an instruction ignores: objdump shows them, but not always. */
const idle = /^(data16|data32|addr16|addr32|rex(\.[WRXB]+)?|[cdefgs]s)$/
const prefix = /^(lock|repn?z|rep|bnd|notrack|xacquire|xrelease)$/

function withoutIdle(text: string): string {
  const words = text.split(' ')
  let prefixes = words.findIndex((word) => !idle.test(word) && !prefix.test(word))
  if (prefixes < 0) prefixes = words.length
  return words.filter((word, i) => i >= prefixes || !idle.test(word)).join(' ')
}

/** Why a line may differ: what objdump writes, what we write. */
const reasons: readonly (readonly [RegExp, RegExp, string])[] = [
  [/\(bad\)$/, /^(f(com|comp|stpnce|xch|stp) st|salc|wbinvd)/, 'undocumented, or with an ignored prefix'],
  [/\(bad\)$/, /^([lms]fence|nop)/, 'objdump wants mod and r/m as the manual shows them; processors ignore r/m'],
  [/^lock/, /^\(bad\)$/, 'LOCK on what cannot be locked is #UD'],
  [/^(tz|lz)cnt/, /^repz bs[fr]/, 'what the processor without BMI1 executes'],
  [/^(v[a-z]|k[a-z]+[bwdq] |sarx|shlx|shrx|bzhi|andn|rorx|mulx|pdep|pext|bls|\{)/, /^\(bad\)$/, 'AVX and BMI: no rows'],
  [/^(xbegin|xabort|xend|xtest|xgetbv|rdpkru|wrpkru|serialize|xsaves|xrstors|xsavec)/, /^\(bad\)$/, 'no rows'],
  [/^(vmgexit|encl[suv]|stgi|clgi|monitor|mwait|pvalidate|rmpadjust|rdssp)/, /^(\(bad\)$|repz nop)/, 'no rows'],
  [/^xacquire|^xrelease/, /lock/, 'hints of TSX, which does not exist here'],
  [/\[eip/, /\[eip/, 'objdump does not wrap the target at 4 GiB'],
  [/^(j|call)[a-z]* 0x/, /^(j|call)|^\(bad\)$/, 'in 64-bit code 66 does not shorten branches (Intel)'],
  [/^ret(f)?w/, /^ret/, 'nor returns'],
  [/movmsk/, /movmsk/, 'REX.W means nothing: the result is zero-extended'],
  [/^(prefetch|bnd[a-z]{3}|cldemote)/, /^nop/, 'hints and MPX are NOPs'],
  [/^(jmp|call) ([a-z]{2}|r\d+w|WORD.*)$/, /^(jmp|call) (r|QWORD)/, '66 does not shorten indirect branches either'],
  [/^(jmp|call) DWORD/, /^(notrack )?(jmp|call) FWORD/, '66 with REX.W'],
  [/^call FWORD|^notrack/, /^notrack call FWORD|ds:/, 'NOTRACK is the override of DS'],
  [/^$/, /^fwait$/, 'objdump takes prefixes before FWAIT for themselves'],
  [/^(l[sfgde]s|f[nls][a-z]*|xchg|fnstenvw|nop) ?/, /^(l[sfgde]s|f[nls][a-z]*|nop)/, '66 with REX.W'],
]

interface Difference {
  bytes: string
  theirs: string
  ours: string
}

/** The difference between a line and ours for these bytes, unless there is a reason for it. */
export function difference(
  d: Disassembler,
  code: Uint8Array,
  { address, bytes, text }: Line,
  bits: Bits,
): Difference | undefined {
  const own = d.instruction(code, 0, BigInt(address), modeWords[bits])
  const ours = plain(own.text)
  if (ours === text && (own.length === bytes.length || ours === '(bad)')) return undefined
  const [a, b] = [withoutIdle(text), withoutIdle(ours)]
  if (a === b && own.length === bytes.length) return undefined
  if (reasons.some(([theirs, mine]) => theirs.test(a) && mine.test(b))) return undefined
  return { bytes: Buffer.from(code).toString('hex'), theirs: text, ours }
}
