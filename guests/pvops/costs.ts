/**
 * What each operation costs: loops with a call site and without, timed by the TSC, the shortest of some rounds of each,
 * for the host does other things, too; once while sites still go through the table and once patched.
 */
import type { Builder } from './builder.ts'
import { How } from './patch.ts'
import { SPARE, Vector, WINDOW } from './layout.ts'

const TIMES = 100
const ROUNDS = 8
/** Costs are told in thousandths of a tick. */
const PER_TICK = 1000

/** Operations that can be repeated, and what they need; `others`: another CPU, so only after it runs. */
const measured: readonly (readonly [op: string, setUp: string, others?: true])[] = [
  ['irq.save_fl', ''],
  ['irq.restore_fl', 'mov eax, 2'],
  ['irq.irq_disable', ''],
  ['cpu.read_cr0', ''],
  ['cpu.clts', ''],
  ['cpu.read_cr4', ''],
  ['cpu.cpuid', 'xor eax, eax\nmov xdx, words'],
  ['cpu.read_msr', 'mov eax, 0xc0000100'],
  ['cpu.read_tsc', ''],
  ['cpu.io_delay', ''],
  ['mmu.read_cr2', ''],
  ['mmu.read_cr3', ''],
  ['mmu.write_cr3', 'mov xax, xdi'],
  ['mmu.flush_tlb_single', `mov xax, ${WINDOW}`],
  ['mmu.flush_tlb_kernel', ''],
  ['mmu.set_pte', 'mov xax, window_table+4088\nxor edx, edx\nxor ecx, ecx'],
  ['mmu.pte_val', ''],
  ['mmu.alloc_pte', `mov xax, ${SPARE + 0x7000}`],
  ['mmu.enter_lazy_mode', ''],
  ['time.sched_clock', ''],
  ['time.steal_clock', ''],
  ['time.get_wallclock', ''],
  ['time.set_next_event', 'mov eax, 0x7fffffff'],
  ['apic.eoi', ''],
  ['apic.apic_read', 'mov eax, 0x30'],
  ['mmu.flush_tlb_others', `mov eax, 1\nmov xdx, ${WINDOW}`, true],
  ['apic.send_ipi', `mov eax, 1\nmov edx, ${Vector.KICK}`, true],
  ['lock.kick', 'mov eax, 1', true],
  ['lock.vcpu_is_preempted', 'mov eax, 1', true],
]

const names: Readonly<Record<number, string>> = {
  [How.UNPATCHED]: 'table',
  [How.NOTHING]: 'nothing',
  [How.INLINE]: 'inline',
  [How.CALL]: 'call',
  [How.JUMP]: 'jump',
}

/** The fewest ticks so far of a loop around `body`, in the cell `best`. */
function timed(k: Builder, body: string, best: string): string {
  const again = k.unique('again')
  const longer = k.unique('longer')
  return `
  ${k.op('cpu.read_tsc')}
  mov ebp, eax
  mov esi, ${TIMES}
${again}:
  ${body}
  dec esi
  jne ${again}
  ${k.op('cpu.read_tsc')}
  sub eax, ebp
  cmp eax, [${best}]
  jae ${longer}
  mov [${best}], eax
${longer}:`
}

/** `measure`: the cost of each into the words at XBX. */
export function costs(k: Builder): string {
  const all = measured.map(([op, setUp, others], i) => {
    const [skip, round, positive] = ['skip', 'round', 'positive'].map((stem) => k.unique(stem))
    return `
  ${others ? `cmp dword ptr [cpus_up], 1\n  je ${skip}` : ''}
  mov dword ptr [best_without], -1
  mov dword ptr [best_with], -1
  mov dword ptr [rounds], ${ROUNDS}
${round}:
  ${timed(k, setUp, 'best_without')}
  ${timed(k, `${setUp}\n  ${k.op(op)}`, 'best_with')}
  dec dword ptr [rounds]
  jne ${round}
  mov eax, [best_with]
  sub eax, [best_without]
  jae ${positive}
  xor eax, eax
${positive}:
  imul eax, eax, ${PER_TICK / TIMES}
  mov [xbx+${4 * i}], eax
${skip}:`
  })
  return `
measure:
  push xsi
  push xdi
  push xbp
  ${k.op('mmu.read_cr3')}
  mov xdi, xax
${all.join('\n')}
  pop xbp
  pop xdi
  pop xsi
  ret

; Lines: cost OPERATION WHOSE HOW BEFORE AFTER.
print_costs:
  push xsi
  mov xsi, measured
.next_cost:
  mov eax, [xsi]
  test eax, eax
  je .costs_done
  ${k.print('cost ')}
  mov eax, [xsi]
  call print
  ${k.print(' ')}
  mov ecx, [xsi+4]                      ; number of the operation
  mov xax, [pv_ops+xcx*${k.word}]
  cmp xax, [native_ops+xcx*${k.word}]
  mov xax, ${k.string('native')}
  je .whose
  mov xax, [pv_name]
.whose:
  call print
  ${k.print(', ')}
  mov ecx, [xsi+4]
  movzx eax, byte ptr [how+xcx]
  mov eax, [how_texts+xax*4]
  call print
  ${k.print(' ')}
  mov ecx, [xsi+8]
  mov eax, [costs_before+xcx]
  call print_decimal
  ${k.print(' ')}
  mov ecx, [xsi+8]
  mov eax, [costs_after+xcx]
  call print_decimal
  ${k.print('\n')}
  add xsi, 12
  jmp .next_cost
.costs_done:
  pop xsi
  ret

measured:
${measured.map(([op], i) => `dd ${k.string(op)}, ${k.index(op)}, ${4 * i}`).join('\n')}
dd 0
best_with: dd 0
best_without: dd 0
rounds: dd 0
how_texts: dd ${Object.values(names)
    .map((text) => k.string(text))
    .join(', ')}
costs_before: zero ${4 * measured.length}
costs_after: zero ${4 * measured.length}
`
}
