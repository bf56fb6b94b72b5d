/** The interrupt flag, control registers and MSRs, exceptions. */
import type { Builder } from '../builder.ts'
import { faulting, PATIENCE, saw } from './common.ts'

export function interrupts(k: Builder): string {
  return `
  ${k.op('irq.irq_disable')}
  ${k.op('irq.save_fl')}
  test eax, 0x200
  ${k.check('irq_disable: save_fl says that interrupts are off', 'z')}
  ${k.op('irq.irq_enable')}
  ${k.op('irq.save_fl')}
  mov xbx, xax
  ${k.op('irq.irq_disable')}
  test ebx, 0x200
  ${k.check('irq_enable: save_fl says that they are on', 'nz')}
  mov xax, xbx
  ${k.op('irq.restore_fl')}
  ${k.op('irq.save_fl')}
  mov xbx, xax
  ${k.op('irq.irq_disable')}
  test ebx, 0x200
  ${k.check('restore_fl: on again', 'nz')}
`
}

export function processor(k: Builder): string {
  return `
  ${k.op('cpu.read_cr0')}
  and eax, 0x80000001
  cmp eax, 0x80000001
  ${k.check('read_cr0: protected mode, paging', 'e')}
  ${k.op('cpu.read_cr0')}
  or eax, 8
  ${k.op('cpu.write_cr0')}
  ${k.op('cpu.read_cr0')}
  mov ebx, eax
  ${k.op('cpu.clts')}
  ${k.op('cpu.read_cr0')}
  and ebx, 8
  and eax, 8
  xor eax, ebx
  cmp eax, 8
  ${k.check('write_cr0 sets TS, clts clears it', 'e')}
  xor eax, eax
  mov xdx, words
  ${k.op('cpu.cpuid')}
  cmp dword ptr [words+4], 0
  ${k.check('cpuid: there is a vendor', 'ne')}
  mov eax, 0xc0000100
  mov edx, 0x12345000
  xor ecx, ecx
  ${k.op('cpu.write_msr')}
  mov eax, 0xc0000100
  ${k.op('cpu.read_msr')}
  cmp eax, 0x12345000
  ${k.check('write_msr, read_msr: the base of FS', 'e')}
  ${k.op('cpu.read_tsc')}
  mov ebx, eax
  ${k.op('cpu.read_tsc')}
  sub eax, ebx
  cmp eax, ${PATIENCE}
  ${k.check('read_tsc: it goes on', 'b')}
`
}

export function faults(k: Builder): string {
  return `
${[0, 3, 6, 13, 14].map((vector) => `  mov xax, expected\n  mov [handlers+${vector * k.word}], xax`).join('\n')}
  ${faulting(k, 'ud2')}
  ${saw(k, 6, 0)}
  ${k.check('trap: an undefined instruction', 'e')}
  ${faulting(k, 'xor edx, edx\nmov ecx, edx\ndiv ecx')}
  ${saw(k, 0, 0)}
  ${k.check('trap: a division by zero', 'e')}
  ${faulting(k, 'int3')}
  ${saw(k, 3, 0)}
  ${k.check('trap: a breakpoint', 'e')}
  ${faulting(k, 'mov eax, 0x7ff8\nmov es, eax')}
  ${saw(k, 13, 0x7ff8)}
  ${k.check('trap: a selector outside the table', 'e')}
`
}
