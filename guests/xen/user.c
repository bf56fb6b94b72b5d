/* Excursions: code in user mode, and in the kernel, that is entered by the hypercall iret and ends with a trap. */
#include "xen.h"

extern void enter_frame(void *frame);
extern u8 callbacks[], stack_top[];
extern u64 entry_arguments[2];
static u8 trap_stack[PAGE] __attribute__((aligned(16)));
static u8 user_stack[PAGE] __attribute__((aligned(16)));
static u64 root;
static u32 upcall_port[VCPUS];

/* In the kernel it is a hypercall that does not exist. */
#define END "\n mov $-1, %eax\n syscall\n ud2"
#define CODE(name, text) \
  static void __attribute__((naked)) name(u64 a, u64 b) { asm volatile(text END); }

CODE(just_syscall, "")
CODE(breakpoint, "int3")
CODE(divide, "xor %edx, %edx; xor %eax, %eax; div %eax")
CODE(undefined, "ud2")
CODE(int80, "int $0x80")
CODE(overflow, "int $4")
CODE(privileged, "lidt (%rdi)")
CODE(invalidate, "invlpg (%rdi)")
CODE(halt, "hlt")
CODE(clear_if, "cli; sti")
CODE(port_in, "mov $0x80, %edx; in %dx, %al")
CODE(port_out, "mov $0x80, %edx; out %al, %dx")
CODE(read_cr0, "mov %cr0, %rcx")
CODE(write_cr2, "mov %rdi, %cr2; mov %cr2, %rdx")
CODE(clear_ts, "clts")
CODE(read_msr, "mov $0x12345678, %ecx; rdmsr")
CODE(write_msr, "mov $0x12345678, %ecx; wrmsr")
CODE(caches, "wbinvd")
CODE(read_debug, "mov %db0, %rax")
CODE(write_debug, "mov %rdi, %db1")
CODE(forced, "xor %eax, %eax; xor %ecx, %ecx; ud2; .ascii \"xen\"; cpuid")
CODE(broken_forced, "ud2; .ascii \"xem\"; cpuid")
CODE(read, "mov (%rdi), %rax")
CODE(write, "mov %rax, (%rdi)")
CODE(call, "jmp *%rdi")
CODE(push_bad, "mov %rdi, %rsp; push %rax")
CODE(load_es, "mov %esi, %es")
CODE(load_ds, "mov %esi, %ds")
CODE(load_fs, "mov %esi, %fs")
CODE(load_gs, "mov %esi, %gs")
CODE(load_ss, "mov %esi, %ss")
CODE(far_return, "mov %rsp, %rax; push $0; push %rax; pushf; push %rsi; push $0x1000; iretq")
CODE(coprocessor, "fninit")
CODE(flags, "pushf; orl $0x3200, (%rsp); popf; pushf; pop %rdx")

static void (*const codes[])(u64, u64) = {
  just_syscall, just_syscall, just_syscall, breakpoint, divide, undefined, int80, overflow, privileged, invalidate, halt,
  clear_if, port_in, port_out, read_cr0, write_cr2, clear_ts, read_msr, write_msr, caches, read_debug, write_debug, forced,
  broken_forced, read, write, call, push_bad, load_es, load_ds, load_fs, load_gs, load_ss, far_return, coprocessor, flags};

static void enter(u64 frame, u64 b) { enter_frame((void *)frame); }

/* A port whose event comes when the guest lets it in. */
void user_init(void) {
  for (u32 vcpu = 0; vcpu < vcpus; vcpu++) {
    struct { u32 vcpu, port; } a = {vcpu, 0};
    H2(EVENT_CHANNEL_OP, 7, &a);
    upcall_port[vcpu] = a.port;
  }
  root = ((u64 *)start_info->mfn_list)[((u64)start_info->pt_base - VIRT_BASE) / PAGE];
}

static void excursion(void) {
  void (*code)(u64, u64) = codes[below(sizeof codes / sizeof *codes)];
  struct { u64 rax, r11, rcx, flags, rip, cs, rflags, rsp, ss; } frame = {
    0x11, 0x22, 0x33, PICK(0, 0, 0x100), (u64)code, 0xe033, PICK(0x202ul, 0x202ul, 0x2ul, 0x40202ul, 0x3202ul, 0x302ul, 0xad7ul),
    (u64)user_stack + sizeof user_stack, 0xe02b};
  int user = below(3) != 0;
  if (!user) frame.cs = PICK(0xe030ul, 0xe031ul, 0xe032ul);
  if (below(12) == 0) frame.cs = PICK(0x13ul, 0xe00bul, 0x2bul, 0xe02bul, 0xf0ful);
  if (below(12) == 0) frame.ss = PICK(0x1bul, 0x13ul, 0xe033ul, 0xe028ul, 0x1fful);
  if (below(16) == 0) frame.rip = PICK(0x1000ul, 0xffff800000000000ul);
  entry_arguments[0] = PICK(0x1000ul, 0x7ffffffff000ul, 0x800000000000ul, 0xffff87fffffff000ul, (u64)user_stack);
  entry_arguments[1] = PICK(0ul, 0xe02bul, 0xe033ul, 0xe008ul, 0x13ul, 0x17ul, 0x0ful);
  if (code == far_return && below(2)) entry_arguments[1] = 0xe033;
  if (code == call) entry_arguments[0] = 0x1000;
  /* A push in the kernel of Xen's addresses, or of none, ends the domain when the fault is to be pushed there. */
  if (code == push_bad && (frame.cs & 3) != 3) code = just_syscall, frame.rip = (u64)code;
  if ((code == just_syscall || code == coprocessor) && (frame.cs & 3) != 3 && frame.rip == (u64)code) code = breakpoint, frame.rip = (u64)code;
  u32 masks = below(2), ts = below(4) == 0, event = below(4) == 0;
  set_user_root(root);
  H2(STACK_SWITCH, 0xe02b, trap_stack + sizeof trap_stack);
  for (u16 type = 0; type < 3; type++) {
    struct { u16 type, flags; u64 address; } op = {type, masks, (u64)callbacks + 16 * type};
    H2(CALLBACK_OP, 0, &op);
  }
  if (ts) H1(FPU_TASKSWITCH, 1);
  quiet();
  if (event) raise_port(upcall_port[playing]);
  attempt(enter, (u64)&frame, 0);
  H1(FPU_TASKSWITCH, 0);
  quiet();
  /* 32 bits: QEMU keeps the rest of RIP in compatibility mode. */
  u32 from = trap.rip - frame.rip;
  if (trap.rip - (u64)code < 64) from = trap.rip - (u64)code;
  else if (trap.rip < 2 * PAGE) from = trap.rip;
  else if (trap.rip - (u64)user_stack < 2 * PAGE) from = trap.rip - (u64)user_stack;
  u64 sp = trap.rsp;
  if (sp - (u64)user_stack < 2 * PAGE) sp -= (u64)user_stack;
  else if (sp >= VIRT_BASE) sp &= 15;
  NOTE("excursion", code - codes[0] == 0, frame.cs, frame.ss, frame.rflags, user, event, ts, masks);
  NOTE("ends", trap.vector, trap.error, from, trap.cs, trap.rflags & 0xfe7fff, sp, trap.ss,
       trap.mask, trap.vector == 14 ? (trap.cr2 - (u64)user_stack < PAGE ? trap.cr2 - (u64)user_stack : trap.cr2) : 0);
  NOTE("at", (u64)trap_stack + sizeof trap_stack - trap.at < PAGE ? (u64)trap_stack + sizeof trap_stack - trap.at : 0);
  if (trap.vector == 0x102) NOTE("syscall", trap.rcx - (u64)code, trap.r11 & 0xfe7fff);
  asm volatile("mov %0, %%es; mov %0, %%ds; mov %0, %%fs; mov %0, %%gs" : : "r"(0));
}

void user_step(void) {
  if (below(6)) return excursion();
  u32 iopl = PICK(0u, 1u, 3u, 4u);
  NOTE("set_iopl", iopl, H2(PHYSDEV_OP, 6, &iopl));
  for (int i = 0; i < 2; i++) {
    if (attempt(clear_if, 0, 0)) note_trap("cli", clear_if);
  }
  iopl = 0;
  H2(PHYSDEV_OP, 6, &iopl);
}

#ifdef EVERY
#include "every/code.c"
#endif
