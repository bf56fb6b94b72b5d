/** Code of the assembler against known encodings (SDM Vol. 2), and against what the disassembler reads in it. */
import { describe, expect, test } from 'vitest'
import { Disassembler } from '../disassemble/disassembler.ts'
import { cachedInterpreter } from '../interpreter/cached.ts'
import { Mode } from '../layout.ts'
import { assemble } from './assembler.ts'
import type { Bits } from './encode.ts'

const ORIGIN = 0x100000
const code = (text: string, bits: Bits = 64) =>
  Buffer.from(assemble(text, { origin: ORIGIN, bits }).bytes).toString('hex')

describe('encodings', () => {
  test.each([
    ['cli', 'fa'],
    ['mov rax, cr3', '0f20d8'],
    ['mov cr8, rcx', '440f22c1'],
    ['mov eax, 5', 'b805000000'],
    ['mov rax, 5', '48c7c005000000'],
    ['mov rax, 0x123456789abc', '48b8bc9a785634120000'],
    ['mov xax, [xdi+8]', '488b4708'],
    ['mov [rsp], r12d', '44892424'],
    ['mov byte ptr [r13], 1', '41c6450001'],
    ['mov dword ptr [here], 1', 'c7042500001000 01000000'],
    ['lea rsi, [rip+here]', '488d35f9ffffff'],
    ['add rsp, 8', '4883c408'],
    ['add rsp, 0x80', '4881c480000000'],
    ['add rsp, -128', '4883c480'],
    ['cmp al, 10', '3c0a'],
    ['cmp sil, 10', '4080fe0a'],
    ['test ah, 2', 'f6c402'],
    ['shl rdx, 32', '48c1e220'],
    ['shl rdx, 1', '48d1e2'],
    ['push rbx', '53'],
    ['push r9', '4151'],
    ['push 0x10', '6a10'],
    ['pushf', '9c'],
    ['popf', '9d'],
    ['iretq', '48cf'],
    ['sysretq', '480f07'],
    ['lgdt [here]', '0f01142500001000'],
    ['ltr ax', '0f00d8'],
    ['mov ds, eax', '8ed8'],
    ['mov eax, ds', '8cd8'],
    ['in al, dx', 'ec'],
    ['out dx, eax', 'ef'],
    ['out 0x80, al', 'e680'],
    ['rep stosq', 'f348ab'],
    ['rep movsb', 'f3a4'],
    ['invlpg [rax]', '0f0138'],
    ['lock cmpxchg [rdi], edx', 'f00fb117'],
    ['xchg [rdi], al', '8607'],
    ['vmcall', '0f01c1'],
    ['jmp here', 'e9fbffffff'],
    ['jc here', '0f82faffffff'],
    ['call [rbx*8+here]', 'ff14dd00001000'],
    ['call rbx', 'ffd3'],
    ['setne cl', '0f95c1'],
    ['movzx eax, byte ptr [rcx]', '0fb601'],
    ['imul rax, rcx', '480fafc1'],
    ['mul ecx', 'f7e1'],
    ['mov gs:[0x10], eax', '658904251000 0000'],
    ['movdqu xmm1, [rsi]', 'f30f6f0e'],
    ['int 0x80', 'cd80'],
    ['cqo', '4899'],
    ['pause', 'f390'],
    ['swapgs', '0f01f8'],
  ])('%s', (text, expected) => expect(code(`here: ${text}`)).toBe(expected.replaceAll(' ', '')))

  test.each([
    ['mov xax, [xdi+8]', '8b4708'],
    ['mov eax, [here]', '8b0500001000'],
    ['inc dword ptr [here]', 'ff0500001000'],
    ['push xbx', '53'],
    ['iret', 'cf'],
    ['lgdt [here]', '0f011500001000'],
    ['jmp 8:here', 'ea000010000800'],
    ['pushf', '9c'],
    ['jne here', '0f85faffffff'],
    ['call here', 'e8fbffffff'],
  ])('32 bits: %s', (text, expected) => expect(code(`here: ${text}`, 32)).toBe(expected))

  test.each([
    ['mov ax, cs', '8cc8'],
    ['mov ds, ax', '8ed8'],
    ['mov eax, cr0', '0f20c0'],
    ['or eax, 1', '6683c801'],
    ['jmp 8:0x8000', 'ea00800800'],
  ])('16 bits: %s', (text, expected) => expect(code(text, 16)).toBe(expected))

  test('data, labels before and after, alignment', () => {
    expect(code('dd end, 1+2*3, -1\ndb "ab", \'c\', 0\nalign 4\nend: dx end-4', 32)).toBe(
      '1000100007000000ffffffff616263000c001000',
    )
  })
})

describe('what is wrong says where', () => {
  test.each([
    'frob eax',
    'mov [rax], 1',
    'mov eax, nowhere',
    'mov cr3, eax',
    'mov ah, r8b',
    'mov eax, 5 5',
    'add [rax], [rbx]',
  ])('%s', (text) => expect(() => code(`nop\n${text}`)).toThrow(`line 2, '${text}'`))
  test('a label twice', () =>
    expect(() => code('a: nop\na: nop')).toThrow("line 2, 'a: nop': the label a exists already"))
})

test('the disassembler reads what was written', () => {
  const d = new Disassembler(cachedInterpreter())
  for (const [bits, mode] of [
    [64, Mode.LONG | Mode.B | Mode.FLAT],
    [32, Mode.D | Mode.B | Mode.FLAT],
  ] as const) {
    const lines = [
      ...['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp', 'mov', 'test', 'xchg', 'bts'].flatMap((name) => [
        `${name} ecx,edx`,
        `${name} DWORD PTR [ebx+ecx*4+0x10],esi`.replaceAll(/e(bx|cx\*)/g, bits === 64 ? 'r$1' : 'e$1'),
      ]),
      ...['inc', 'dec', 'neg', 'not', 'mul', 'div', 'idiv', 'bswap'].map((name) => `${name} edi`),
      ...['sete', 'setb', 'setg'].map((name) => `${name} bl`),
      'hlt',
      'sti',
      'cld',
      'clts',
      'wbinvd',
      'rdtsc',
      'cpuid',
      'wrmsr',
      'ud2',
      'leave',
      'ret',
    ]
    for (const line of lines) {
      const { bytes } = assemble(line.toLowerCase(), { origin: ORIGIN, bits })
      const read = d.instruction(bytes, 0, BigInt(ORIGIN), mode)
      expect(`${read.text.replace(/\s+/g, ' ')} ${read.length}`).toBe(`${line} ${bytes.length}`)
    }
  }
})
