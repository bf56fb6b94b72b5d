/*
 * Single steps, and interrupts that wait: after STI and MOV SS, behind CR8, non-maskable ones (SDM Vol. 3A 6.8, 10.8,
 * 17.3.1.4).
 */
#include "guest.h"

/* Single steps. */
CODE(nops, "nop\nnop\nnop");
CODE(branches, "jmp 1f\nnop\n1: call 2f\nnop\njmp 3f\n2: ret\n3: mov $2, %ecx\n4: loop 4b\njnz 5f\n5: nop");
CODE(strings, "mov $3, %ecx\nrep movsb\nmov $2, %ecx\nrep stosq\nxor %ecx, %ecx\nrep lodsb\nmovsb\nmov $4, %ecx\nrepe cmpsb");
CODE(clears, "push $2\npopf\nnop\nnop");
CODE(sets, "push $0x102\npopf\nnop\nnop\npush $2\npopf\nnop");
CODE(reads, "pushf\npop %rax\nnop");
CODE(stacks, "mov %ss, %eax\nmov %eax, %ss\nnop\nnop\nmov %eax, %ss\nmov %eax, %ss\nnop\nnop");
CODE(returns, "mov %rsp, %rax\npushq %rbx\npush %rax\npush $0x102\npushq %rcx\nlea 1f(%rip), %rdx\npush %rdx\niretq\nnop\n1: nop\nnop");
CODE(returns_clear, "mov %rsp, %rax\npushq %rbx\npush %rax\npush $2\npushq %rcx\nlea 1f(%rip), %rdx\npush %rdx\niretq\nnop\n1: nop\nnop");
CODE(far_returns, "pushq %rcx\nlea 1f(%rip), %rdx\npush %rdx\nlretq\nnop\n1: nop\nnop");
CODE(traps, "int $0x60\nnop\nint3");
CODE(undefined, "nop\nud2");
CODE(faults, "nop\nmov 0x20000000, %eax");
CODE(string_fault, "mov $16, %ecx\nrep stosb");
CODE(system_call, "nop\nsyscall\nnop");
CODE(system_call_end, "nop\nnop");
CODE(system_return, "nop\nsysretq");
CODE(system_return_end, "nop\nnop");
CODE(system_enter, "nop\nsysenter");
CODE(system_exit, "nop\nsysexitq");
CODE(odds, "cpuid\nxor %eax, %eax\nmov %cr0, %rax\nmov %rax, %cr0\nswapgs\nswapgs\nin $0xed, %al\nmov %dr6, %rax\nxor %eax, %eax\nsti\ncli\nlock incl (%rsi)\nfnop\npause\nenter $8, $0\nleave\ninvlpg (%rsi)\nlar %ax, %ebx\nxchg %al, (%rsi)");
CODE(int_1, ".byte 0xf1\nnop");
CODE(self_modify, "movb $0x40, 1f(%rip)\nmovb $0x90, 1f+1(%rip)\n1: .byte 0x90, 0x90\nnop");

/* Interrupts that wait. */
CODE(sti_nops, "sti\nnop\nnop\nnop");
CODE(sti_cli, "sti\ncli\nnop\nnop");
CODE(sti_sti, "sti\nsti\nnop\nnop");
CODE(sti_stack, "sti\nmov %ecx, %ss\nnop\nnop");
CODE(stack_sti, "mov %ecx, %ss\nsti\nnop\nnop");
CODE(sti_pop_stack, "pushq %rcx\nsti\nlss (%rsi), %esp\nnop\nnop");
CODE(sti_hlt, "sti\nhlt\nnop");
CODE(sti_branch, "sti\njmp 1f\nnop\n1: nop\nnop");
CODE(sti_int, "sti\nint $0x60");
CODE(sti_undefined, "sti\nud2");
CODE(sti_fault, "sti\nmov 0x20000000, %eax\nnop");
CODE(sti_string, "mov $3, %ecx\nsti\nrep stosb\nnop");
CODE(popf_code, "push $0x202\npopf\nnop\nnop");
CODE(iret_code, "mov %rsp, %rax\npush $0x10\npush %rax\npush $0x202\npush $8\nlea 1f(%rip), %rdx\npush %rdx\niretq\n1: nop\nnop");
CODE(lower_cr8, "mov %rax, %cr8\nnop\nnop");
CODE(sti_cr8, "sti\nmov %rax, %cr8\nnop\nnop");
CODE(sti_pushf, "sti\npushf\nnop");
/* TCG takes it at the end of a block. */
CODE(nmi_code, "mov %eax, (%rsi)\njmp 1f\n1: jmp 1f\n1: jmp 1f\n1: nop");

#define APIC 0xfee00000ul
#define APIC_EOI (*(volatile u32 *)(APIC + 0xb0))
#define APIC_SVR (*(volatile u32 *)(APIC + 0xf0))
#define APIC_ICR_LOW (*(volatile u32 *)(APIC + 0x300))
#define APIC_ICR_HIGH (*(volatile u32 *)(APIC + 0x310))
#define TO_SELF 0x40000
#define NMI 0x400
#define VECTOR 0x61
#define DATA_PAGE 8

static word trail[64];
static int steps;
static int watched;

/* Notes where each single step traps, and goes on. */
static int on_step(struct frame *frame) {
  if (frame->vector != 1 || steps == 64) return 0;
  word dr6;
  asm volatile("mov %%dr6, %0; mov %1, %%dr6" : "=r"(dr6) : "r"(0xffff0ff0ul));
  trail[steps++] = (frame->ip - in.ip) << 4 | (dr6 >> 14 & 1) << 1 | (frame->flags >> 8 & 1);
  return 1;
}

static void step(const char *name, const u8 *code, int ring) {
  if (ring) user(code);
  else kernel(code);
  in.flags |= FLAG_TF;
  in.si = PAGE(DATA_PAGE), in.di = PAGE(DATA_PAGE) + 256;
  in.cx = ring ? USER_CS64 : KERNEL_CS;
  in.bx = ring ? USER_DS : KERNEL_DS;
  if (code == system_return) in.cx = (word)system_return_end, in.r11 = FLAG_TF | 2;
  if (code == system_exit) in.dx = (word)system_return_end, in.cx = (word)user_stack;
  if (code == string_fault) in.di = PAGE(DATA_PAGE + 1) - 3;
  if (code == odds) in.cx = 0, in.bx = 0;
  steps = 0;
  hook = on_step;
  go("step %s, ring %d", name, ring);
  if (out.flags & FLAG_TF) print(" TF");
  print(" steps");
  for (int i = 0; i < steps; i++) {
    int bs = trail[i] >> 1 & 1, tf = trail[i] & 1;
    print(" %x%s%s", (trail[i] >> 4) & 0xfff, bs ? "" : "!bs", tf ? "" : "!tf");
  }
}

static void single_steps(void) {
  wrmsr(0xc0000081, 0x0020000800000000);
  wrmsr(0xc0000082, (word)system_call_end);
  wrmsr(0x174, 8);
  wrmsr(0x175, (word)kernel_stack);
  wrmsr(0x176, (word)system_call_end);
  static const struct {
    const char *name;
    const u8 *code;
    u8 ring0, ring3;
  } cases[] = {{"nops", nops, 1, 1}, {"branches", branches, 1, 1}, {"strings", strings, 1, 1}, {"TF cleared", clears, 1, 1}, {"TF set", sets, 1, 1}, {"PUSHF", reads, 0, 1}, {"MOV SS", stacks, 1, 1}, {"IRET", returns, 1, 1}, {"IRET that clears", returns_clear, 1, 1}, {"far RET", far_returns, 1, 1}, {"INT", traps, 1, 1}, {"UD2", undefined, 1, 1}, {"#PF", faults, 1, 1}, {"#PF in REP", string_fault, 1, 1}, {"SYSRET", system_return, 1, 0}, {"SYSENTER", system_enter, 0, 1}, {"SYSEXIT", system_exit, 1, 0}, {"odds", odds, 1, 0}, {"INT1", int_1, 1, 1}, {"self-modifying", self_modify, 1, 1}};
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (cases[i].ring0) step(cases[i].name, cases[i].code, 0);
    if (cases[i].ring3) step(cases[i].name, cases[i].code, 3);
  }
  static const word masks[] = {0, FLAG_TF};
  for (int i = 0; i < 2; i++) {
    wrmsr(0xc0000084, masks[i]);
    step(i ? "SYSCALL, TF masked" : "SYSCALL", system_call, 3);
  }
}

/* Counts interrupts of one vector, and goes on. */
static int on_interrupt(struct frame *frame) {
  if (frame->vector != watched || steps == 64) return 0;
  trail[steps++] = frame->ip - in.ip;
  if (watched == VECTOR) APIC_EOI = 0;
  return 1;
}

static void wait_for(const char *name, const u8 *code, word flags) {
  kernel(code);
  in.cx = KERNEL_DS;
  in.flags |= flags;
  in.si = PAGE(DATA_PAGE), in.di = PAGE(DATA_PAGE) + 256;
  steps = 0;
  watched = VECTOR;
  hook = on_interrupt;
  APIC_ICR_LOW = TO_SELF | VECTOR;
  go("%s", name);
  print(" interrupts");
  for (int i = 0; i < steps; i++) print(" %x", trail[i]);
  /* One that is still waiting must not disturb the next. */
  if (steps == 0) {
    kernel(sti_nops);
    hook = on_interrupt;
    run(&in);
    print(", %d later", steps);
  }
}

static void waiting(void) {
  APIC_SVR = 0x1ff;
  wait_for("STI", sti_nops, 0);
  wait_for("STI, IF set", sti_nops, FLAG_IF);
  wait_for("STI CLI", sti_cli, 0);
  wait_for("STI STI", sti_sti, 0);
  wait_for("STI, MOV SS", sti_stack, 0);
  wait_for("MOV SS, STI", stack_sti, 0);
  *(u32 *)PAGE(DATA_PAGE) = (u32)(word)kernel_stack - 64;
  *(u16 *)(PAGE(DATA_PAGE) + 4) = KERNEL_DS;
  wait_for("STI, LSS", sti_pop_stack, 0);
  wait_for("STI HLT", sti_hlt, 0);
  wait_for("STI, branch", sti_branch, 0);
  wait_for("STI, INT", sti_int, 0);
  wait_for("STI, UD2", sti_undefined, 0);
  wait_for("STI, #PF", sti_fault, 0);
  wait_for("STI, REP", sti_string, 0);
  wait_for("POPF", popf_code, 0);
  wait_for("IRET", iret_code, 0);
  wait_for("IF set", nops, FLAG_IF);
  wait_for("IF set, step", nops, FLAG_IF | FLAG_TF);
  wait_for("STI, step", sti_nops, FLAG_TF);
  wait_for("STI PUSHF", sti_pushf, 0);
  for (word priority = 5; priority < 8; priority++) {
    asm volatile("mov %0, %%cr8" : : "r"(priority));
    wait_for("CR8, then 0", lower_cr8, FLAG_IF);
    asm volatile("mov %0, %%cr8" : : "r"(priority));
    wait_for("STI, CR8 0", sti_cr8, 0);
  }
  asm volatile("mov %0, %%cr8" : : "r"(0ul));
}

/* In the first handler another is sent: it waits for the IRET. */
static int on_nmi(struct frame *frame) {
  if (frame->vector != 2) return 0;
  trail[steps++] = frame->ip - in.ip;
  if (steps == 1 && watched) {
    APIC_ICR_LOW = NMI;
    APIC_ICR_LOW = NMI;
    asm volatile("nop; nop");
    trail[steps++] = 0xfff;
  }
  return 1;
}

static void non_maskable(void) {
  APIC_ICR_HIGH = 0;
  for (watched = 0; watched < 2; watched++) {
    kernel(nmi_code);
    in.si = APIC + 0x300;
    in.ax = NMI;
    steps = 0;
    hook = on_nmi;
    go("NMI%s", watched ? ", two more in its handler" : "");
    print(" taken %d times:", steps);
    for (int i = 0; i < steps; i++) print(" %x", trail[i]);
  }
}

int main(void) {
  map(DATA_PAGE, SPARE, P | W | U);
  map(DATA_PAGE + 1, 0, 0);
  single_steps();
  waiting();
  non_maskable();
  return 0;
}
