/** Text and numbers through the console operation, and the lines of checks. */
import type { Builder } from './builder.ts'

export function console(k: Builder): string {
  return `
; XAX text that ends with 0.
print:
  mov xdx, xax
.length:
  cmp byte ptr [xdx], 0
  je .end
  inc xdx
  jmp .length
.end:
  sub xdx, xax
  ${k.op('init.console_write')}
  ret

print_hex:
  mov ecx, 16
  jmp print_number
; EAX.
print_decimal:
  mov eax, eax
  mov ecx, 10
print_number:
  push xbx
  mov xbx, digits_end
.digit:
  xor edx, edx
  div xcx
  mov dl, [digit_texts+xdx]
  dec xbx
  mov [xbx], dl
  test xax, xax
  jne .digit
  mov xax, xbx
  mov xdx, digits_end
  sub xdx, xbx
  ${k.op('init.console_write')}
  pop xbx
  ret

; A line: EAX 1 or 0, XDX what was checked.
report:
  push xdx
  inc dword ptr [checks]
  add [checks_passed], eax
  test eax, eax
  mov xax, ${k.string('ok   ')}
  jne .good
  mov xax, ${k.string('BAD  ')}
.good:
  call print
  pop xax
  call print
  ${k.print('\n')}
  ret

digit_texts: db "0123456789abcdef"
digits: zero 24
digits_end:
align 4
checks: dd 0
checks_passed: dd 0
`
}
