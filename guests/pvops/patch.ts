/**
 * pv_ops and the patcher. The table has the native functions at first; a backend that finds its hypervisor puts its own
 * over some of them. Then each call site is rewritten by what its operation has become, as Linux does it:
 *
 *     a function that does nothing, or gives back its argument   →  NOPs
 *     a native function that is short enough                     →  its instructions
 *     anything else                                              →  a direct CALL (JMP for what does not return)
 */
import { identities, inlines, nothing } from './backends/native.ts'
import type { Backend } from './backends/backend.ts'
import type { Builder } from './builder.ts'

/** The label of an operation's native function. */
function nativeLabel(name: string, k: Builder): string {
  if (nothing.includes(name)) return 'pv_nothing'
  if (identities.includes(name)) return 'pv_identity'
  const short = name.split('.')[1] as string
  return inlines(k)[name] === undefined ? `native.${short}` : `inline.${short}`
}

/** A site's entry: address, operation, bytes, whether it is a jump. */
const SITE = 16
/** A backend's entry for an operation: its number, the function, word and mask of the features that it needs. */
const OVERRIDE = 16

/** pv_ops, and what `probe` needs of the backends. */
export function tables(k: Builder, backends: readonly Backend[]): string {
  const lines = [
    'align 8',
    'pv_ops:',
    ...k.ops.map(({ name }) => `dx ${nativeLabel(name, k)}`),
    'native_ops:',
    ...k.ops.map(({ name }) => `dx ${nativeLabel(name, k)}`),
    'pv_name: dx native_title',
    'native_title: db "bare hardware", 0',
    'pv_nothing: ret',
    'pv_identity: ret',
    'inlines:',
    ...k.ops.flatMap(({ name }) =>
      inlines(k)[name] === undefined
        ? []
        : [`dd inline.${name.split('.')[1]}, inline.${name.split('.')[1]}.end-inline.${name.split('.')[1]}`],
    ),
    'dd 0, 0',
  ]
  for (const { name, title, overrides } of backends) {
    lines.push(`${name}.title: db "${title}", 0`, 'align 4', `${name}.overrides:`)
    for (const { op, to, needs } of overrides(k))
      lines.push(`dd ${k.index(op)}, ${to ?? 'pv_nothing'}, ${needs ? 4 * needs[0] : 0}, ${needs ? 2 ** needs[1] : 0}`)
    lines.push('dd -1')
  }
  for (const [name, body] of Object.entries(inlines(k))) {
    const label = `inline.${name.split('.')[1]}`
    lines.push(`${label}:`, body, `${label}.end: ret`)
  }
  return lines.join('\n')
}

/** The probe of each backend in turn; the first that finds its hypervisor changes the table. */
export function probe(k: Builder, backends: readonly Backend[]): string {
  const asked = backends.map(
    ({ name }) => `
  call ${name}.probe
  test al, al
  je .not_${name}
  mov xax, ${name}.title
  mov [pv_name], xax
  mov xsi, ${name}.overrides
  mov xdi, ${name}.features
  jmp .override
.not_${name}:`,
  )
  return `
probe:
  push xsi
  push xdi
${asked.join('')}
  jmp .probed
.override:
  mov eax, [xsi]
  cmp eax, -1
  je .probed
  mov ecx, [xsi+12]                     ; mask: without one it needs no feature
  test ecx, ecx
  je .take
  mov edx, [xsi+8]
  test [xdi+xdx], ecx
  je .leave
.take:
  mov edx, [xsi+4]
  mov [pv_ops+xax*${k.word}], xdx
.leave:
  add xsi, ${OVERRIDE}
  jmp .override
.probed:
  pop xdi
  pop xsi
  ret
`
}

/** Bytes of recommended NOPs of 1 to 7 bytes (SDM Vol. 2B, NOP). */
const nops = [
  '0x90',
  '0x66, 0x90',
  '0x0f, 0x1f, 0x00',
  '0x0f, 0x1f, 0x40, 0x00',
  '0x0f, 0x1f, 0x44, 0x00, 0x00',
  '0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00',
  '0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00',
]

/** How an operation's sites were patched: `how` by operation. */
export const How = { UNPATCHED: 0, NOTHING: 1, INLINE: 2, CALL: 3, JUMP: 4 } as const

export function patcher(k: Builder): string {
  return `
apply_paravirt:
  push xbx
  push xsi
  push xdi
  push xbp
  mov xbx, sites
.next_site:
  mov edi, [xbx]                        ; where
  test edi, edi
  je .patched
  mov ebp, [xbx+4]                      ; which operation
  mov xax, [pv_ops+xbp*${k.word}]
  mov edx, [xbx+8]                      ; bytes
  cmp xax, pv_nothing
  je .to_nothing
  cmp xax, pv_identity
  je .to_nothing
  mov xsi, inlines
.next_inline:
  mov ecx, [xsi]
  test ecx, ecx
  je .to_call
  cmp xax, xcx
  je .found_inline
  add xsi, 8
  jmp .next_inline
.found_inline:
  mov ecx, [xsi+4]
  cmp ecx, edx
  ja .to_call
  sub edx, ecx
  mov xsi, xax
  rep movsb
  mov byte ptr [how+xbp], ${How.INLINE}
  inc dword ptr [patched_inline]
  jmp .fill
.to_nothing:
  mov byte ptr [how+xbp], ${How.NOTHING}
  inc dword ptr [patched_nothing]
  jmp .fill
.to_call:
  mov cl, 0xe8
  mov ch, ${How.CALL}
  cmp dword ptr [xbx+12], 0
  je .direct
  mov cl, 0xe9
  mov ch, ${How.JUMP}
.direct:
  mov [how+xbp], ch
  mov [xdi], cl
  sub xax, xdi
  sub eax, 5
  mov [xdi+1], eax
  add xdi, 5
  sub edx, 5
  inc dword ptr [patched_call]
.fill:                                  ; EDX bytes of NOPs
  test edx, edx
  je .site_done
  mov esi, [nop_texts+xdx*4-4]
  mov ecx, edx
  rep movsb
.site_done:
  add xbx, ${SITE}
  jmp .next_site
.patched:
  xor eax, eax                          ; what was fetched before is forgotten
  cpuid
  pop xbp
  pop xdi
  pop xsi
  pop xbx
  ret

nop_texts: dd ${nops.map((_, i) => `.nop${i}`).join(', ')}
${nops.map((bytes, i) => `.nop${i}: db ${bytes}`).join('\n')}
patched_inline: dd 0
patched_nothing: dd 0
patched_call: dd 0
how: zero ${k.ops.length}
`
}

/** The list of call sites: made last, when all are known. */
export function siteList(k: Builder): string {
  const rows = k.sites.map(({ label, op }) => `dd ${label}, ${k.index(op.name)}, ${k.siteBytes}, ${op.jump ? 1 : 0}`)
  return ['align 4', 'sites:', ...rows, 'dd 0'].join('\n')
}
