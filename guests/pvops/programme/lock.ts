/** A ticket lock whose waiters sleep, and CPUs that contend for it. */
import type { Builder } from '../builder.ts'

/** Each CPU's turns with the lock, how long it keeps it, and tries before it sleeps. */
export const ROUNDS = 50
const HOLD = 12
const SPINS = 4

export const lockCode = (k: Builder): string => `
; Count under the lock, and take time over it.
contend:
  push xbx
  mov ebx, ${ROUNDS}
.contend_on:
  call spin_lock
  mov eax, [locked_count]
  mov ecx, ${HOLD}
.hold:
  pause
  dec ecx
  jne .hold
  inc eax
  mov [locked_count], eax
  call spin_unlock
  dec ebx
  jne .contend_on
  pop xbx
  ret

; Once.
take_lock:
  call spin_lock
  call spin_unlock
  ret

; A ticket lock: the byte head is whose turn it is, tail the next ticket.
spin_lock:
  push xbx
  mov bl, 1
  lock xadd [lock_tail], bl
.lock_try:
  mov ecx, ${SPINS}
.lock_spin:
  mov dl, [lock_head]
  cmp dl, bl
  je .lock_got
  pause
  dec ecx
  jne .lock_spin
  lock inc dword ptr [lock_waits]
  mov dword ptr [lock_slept], 1
  mov xax, lock_head
  ${k.op('lock.wait')}
  jmp .lock_try
.lock_got:
  pop xbx
  ret

spin_unlock:
  push xbx
  push xsi
  inc byte ptr [lock_head]
  mov al, [lock_head]
  cmp al, [lock_tail]
  je .unlocked
  call cpu_number
  mov esi, eax
  xor ebx, ebx
.kick_next:
  cmp ebx, esi
  je .not_me
  mov eax, ebx
  ${k.op('lock.kick')}
.not_me:
  inc ebx
  cmp ebx, [cpus]
  jb .kick_next
.unlocked:
  pop xsi
  pop xbx
  ret

align 4
locked_count: dd 0
lock_waits: dd 0
lock_slept: dd 0
lock_head: db 0
lock_tail: db 0
`
