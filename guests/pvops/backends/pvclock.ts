/** The page of time that KVM and Xen keep for each CPU (struct pvclock_vcpu_time_info). */
import type { Builder } from '../builder.ts'

/**
 * `sched_clock` by a page of time that the hypervisor keeps, whose address `find` leaves in XAX: (TSC - timestamp << shift)
 * * mul >> 32, plus system time.
 */
export function readClock(k: Builder, name: string, find: string): string {
  if (k.long)
    return `
${name}.sched_clock:
  push rbx
  ${find}
  mov rbx, rax
.${name}_again:
  mov r8d, [rbx]
  rdtsc
  shl rdx, 32
  or rax, rdx
  sub rax, [rbx+8]
  movsx ecx, byte ptr [rbx+28]
  test ecx, ecx
  js .${name}_right
  shl rax, cl
  jmp .${name}_scale
.${name}_right:
  neg ecx
  shr rax, cl
.${name}_scale:
  mov ecx, [rbx+24]
  mul rcx
  shrd rax, rdx, 32
  add rax, [rbx+16]
  cmp r8d, [rbx]
  jne .${name}_again
  test r8d, 1
  jne .${name}_again
  pop rbx
  ret
`
  return `
${name}.sched_clock:
  push ebx
  push esi
  push edi
  ${find}
  mov ebx, eax
.${name}_again:
  mov edi, [ebx]
  rdtsc
  sub eax, [ebx+8]
  sbb edx, [ebx+12]
  movsx ecx, byte ptr [ebx+28]
  test ecx, ecx
  js .${name}_right
  shld edx, eax, cl
  shl eax, cl
  jmp .${name}_scale
.${name}_right:
  neg ecx
  shrd eax, edx, cl
  shr edx, cl
.${name}_scale:
  mov esi, edx
  mul dword ptr [ebx+24]
  mov ecx, edx
  mov eax, esi
  mul dword ptr [ebx+24]
  add eax, ecx
  adc edx, 0
  add eax, [ebx+16]
  adc edx, [ebx+20]
  cmp edi, [ebx]
  jne .${name}_again
  test edi, 1
  jne .${name}_again
  pop edi
  pop esi
  pop ebx
  ret
`
}

/** EAX = kilohertz of the TSC, as the page at this address says it. */
export const tscFrequency = (name: string, page: string): string => `  xor eax, eax
  mov edx, 1000000
  div dword ptr [${page}+24]
  movsx ecx, byte ptr [${page}+28]
  test ecx, ecx
  js .${name}_left
  shr eax, cl
  jmp .${name}_khz
.${name}_left:
  neg ecx
  shl eax, cl
.${name}_khz:`
