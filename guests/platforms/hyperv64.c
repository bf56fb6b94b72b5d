/*
 * Hyper-V's interface from inside: leaves, every MSR in ring 0 and 3 with good and bad values, the hypercall page,
 * hypercalls in all forms, messages, timers, EOIs left out, the idle MSR, the last words (Microsoft, Hypervisor Top
 * Level Functional Specification).
 */
#include "guest.h"

CODE(cpuid_code, "cpuid");
CODE(rdmsr_code, "rdmsr");
CODE(wrmsr_code, "wrmsr");
CODE(vmcall_code, "vmcall");
CODE(vmmcall_code, "vmmcall");
CODE32(vmcall_32, "vmcall");
/* Addresses in XMM0 and XMM1. */
CODE(vmcall_xmm, "movq %r9, %xmm0\nmovq %r10, %xmm1\npunpcklqdq %xmm1, %xmm0\nvmcall");
CODE(call_page, "call *%rbx");
CODE(store_code, "movq %rax, (%rbx)");
CODE(string_store, "rep stosb");
CODE(push_code, "mov %rbx, %rsp\npush %rax");
CODE(sti_code, "sti\nnop\nnop\ncli");
CODE(nothing, "nop");

#define GUEST_OS_ID 0x40000000
#define HYPERCALL 0x40000001
#define REFERENCE_TSC 0x40000021
#define TIME_REF_COUNT 0x40000020
#define EOI 0x40000070
#define ICR 0x40000071
#define TPR 0x40000072
#define VP_ASSIST 0x40000073
#define SCONTROL 0x40000080
#define SIEFP 0x40000082
#define SIMP 0x40000083
#define EOM 0x40000084
#define SINT(n) (0x40000090 + (n))
#define TIMER_CONFIG(n) (0x400000b0 + 2 * (n))
#define TIMER_COUNT(n) (0x400000b1 + 2 * (n))
#define GUEST_IDLE 0x400000f0
#define CRASH_P(n) (0x40000100 + (n))
#define CRASH_CTL 0x40000105

#define FAST 0x10000ul
#define HEADER(n) ((word)(n) << 17)
#define COUNT(n) ((word)(n) << 32)
#define START(n) ((word)(n) << 48)
#define OUTSIDE (1ul << 36)

/* Pages of RAM for overlays, input and output. */
#define OVERLAY(n) (SPARE + 0x10000ul + (n) * 0x1000ul)
static volatile u64 *const input = (u64 *)SPARE;
static volatile u64 *const output = (u64 *)(SPARE + 0x1000);
static volatile u32 *const apic = (u32 *)PAGE(100);

static void write(const char *name, u32 msr, u64 value) {
  kernel(wrmsr_code), in.cx = msr, in.ax = (u32)value, in.dx = value >> 32, go("WRMSR %x %s", (word)msr, name);
}

static void leaves(void) {
  static const u32 list[] = {0x40000000, 0x40000001, 0x40000002, 0x40000003, 0x40000004, 0x40000005, 0x40000006, 0x40000081, 0x400000ff};
  for (unsigned i = 0; i < sizeof list / sizeof *list; i++) kernel(cpuid_code), in.ax = list[i], go("CPUID %x", (word)list[i]);
  user(cpuid_code), in.ax = 0x40000003, go("CPUID 40000003, ring 3");
}

/* Whether it can be read and written at all; times are not printed. */
static void registers(void) {
  static const struct { u32 first, last; } ranges[] = {{0x40000000, 0x40000004}, {0x4000000f, 0x40000011}, {0x40000022, 0x40000024}, {0x40000070, 0x40000074}, {0x40000080, 0x40000085}, {0x40000090, 0x40000091}, {0x4000009f, 0x400000a0}, {0x400000b0, 0x400000b8}, {0x400000f1, 0x400000f2}, {0x40000100, 0x40000109}, {0x40000118, 0x40000119}};
  for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++)
    for (u32 msr = ranges[i].first; msr <= ranges[i].last; msr++) {
      kernel(rdmsr_code), in.cx = msr;
      if (msr != 0x40000010) go("RDMSR %x", (word)msr);
      user(rdmsr_code), in.cx = msr, go("RDMSR %x, ring 3", (word)msr);
      user(wrmsr_code), in.cx = msr, go("WRMSR %x, ring 3", (word)msr);
    }
  static const u32 read_only[] = {0x40000002, 0x40000010, 0x40000020, 0x40000022, 0x40000023, 0x40000081, GUEST_IDLE};
  for (unsigned i = 0; i < sizeof read_only / sizeof *read_only; i++) write("read-only", read_only[i], 1);
  write("0", 0x40000003, 0);
  write("vector 15", SINT(3), 15);
  write("vector 15, masked", SINT(3), 0x1000f);
  write("outside", VP_ASSIST, OUTSIDE | 1);
  write("reserved", VP_ASSIST, 0xffe);
  kernel(rdmsr_code), in.cx = VP_ASSIST, go("RDMSR reserved");
  write("outside", SIMP, OUTSIDE | 1);
  write("outside", SIEFP, OUTSIDE | 1);
  write("outside", REFERENCE_TSC, OUTSIDE | 1);
  write("reserved", TIMER_CONFIG(1), 0xffffffffffff0000);
  kernel(rdmsr_code), in.cx = TIMER_CONFIG(1), go("RDMSR reserved");
  write("enabled without a target", TIMER_CONFIG(1), 1);
  kernel(rdmsr_code), in.cx = TIMER_CONFIG(1), go("RDMSR enabled without a target");
  write("direct, vector 15", TIMER_CONFIG(1), 0x10f1);
  kernel(rdmsr_code), in.cx = TIMER_CONFIG(1), go("RDMSR direct, vector 15");
  write("emulated", 0x40000108, 1);
  write("TPR 25", TPR, 0x1025), print(" APIC %x", (word)apic[0x80 / 4]), wrmsr(TPR, 0);
  wrmsr(SIMP, 0), wrmsr(SIEFP, 0), wrmsr(REFERENCE_TSC, 0), wrmsr(VP_ASSIST, 0), wrmsr(TIMER_CONFIG(1), 0);
}

static void hypercall_page(void) {
  volatile u64 *page = (u64 *)OVERLAY(0);
  page[0] = 0x1111, page[511] = 0x2222;
  kernel(vmcall_code), in.cx = 8 | FAST, go("VMCALL without a page");
  write("without an identity", HYPERCALL, OVERLAY(0) | 1);
  kernel(rdmsr_code), in.cx = HYPERCALL, go("RDMSR without an identity");
  wrmsr(GUEST_OS_ID, 0x8100ul << 48);
  write("outside", HYPERCALL, OUTSIDE | 1);
  write("inside", HYPERCALL, OVERLAY(0) | 1);
  print(" first %x last %x", page[0], page[511]);
  kernel(store_code), in.bx = OVERLAY(0), go("store to the page");
  kernel(store_code), in.bx = OVERLAY(0) - 4, go("store that ends in the page");
  kernel(store_code), in.bx = OVERLAY(0) + 0xff8, go("store to the page's end");
  kernel(push_code), in.bx = OVERLAY(0) + 64, go("push to the page");
  kernel(string_store), in.di = OVERLAY(0) - 16, in.cx = 32, go("string store into the page");
  print(" first %x last %x", page[0], page[511]);
  kernel(call_page), in.bx = OVERLAY(0), in.cx = 8 | FAST, go("call to the page");
  wrmsr(HYPERCALL, OVERLAY(1) | 1);
  print("\nmoved: below %x %x", page[0], page[511]);
  wrmsr(GUEST_OS_ID, 0);
  kernel(rdmsr_code), in.cx = HYPERCALL, go("RDMSR after the identity went");
  kernel(vmcall_code), in.cx = 8 | FAST, go("VMCALL after the identity went");
  wrmsr(GUEST_OS_ID, 0x8100ul << 48), wrmsr(HYPERCALL, OVERLAY(0) | 1);
}

static void call(const char *name, word control, word in_at, word out_at) {
  kernel(vmcall_code), in.cx = control, in.dx = in_at, in.r8 = out_at, go("%s", name);
}

static void calls(void) {
  static const u32 codes[] = {0, 1, 2, 3, 4, 7, 8, 9, 0xb, 0x13, 0x14, 0x15, 0x46, 0x50, 0x51, 0x5c, 0x5d, 0x69, 0x7e, 0x99, 0x8001, 0x8002, 0xffff};
  for (unsigned i = 0; i < sizeof codes / sizeof *codes; i++) {
    for (int k = 0; k < 64; k++) input[k] = output[k] = 0;
    kernel(vmcall_code), in.cx = codes[i], in.dx = SPARE, in.r8 = SPARE + 0x1000, go("call %x", (word)codes[i]);
  }
  user(vmcall_code), in.cx = 8 | FAST, go("ring 3");
  kernel(vmmcall_code), in.cx = 8 | FAST, go("VMMCALL");
  gdt[FREE / 8] = descriptor(0, 0xfffff, 0xc9b);
  kernel(vmcall_32), in.cs = FREE, in.ax = 8 | FAST, go("32 bits");
  kernel(vmcall_32), in.cs = FREE, in.ax = 2, in.dx = 0, in.cx = SPARE + 4, go("32 bits, unaligned");
  kernel(vmcall_32), in.cs = FREE, in.ax = 3, in.dx = 2, in.cx = SPARE, in.di = 0, in.si = 0, go("32 bits, 2 repetitions");
  user(vmcall_32), in.cs = USER_CS32, in.ax = 8 | FAST, go("32 bits, ring 3");

  call("reserved 27", 2 | 1ul << 27, SPARE, 0);
  call("reserved 44", 2 | 1ul << 44, SPARE, 0);
  call("reserved 60", 2 | 1ul << 60, SPARE, 0);
  call("a count for what does not repeat", 2 | COUNT(1), SPARE, 0);
  call("a start for what does not repeat", 2 | START(1), SPARE, 0);
  call("no count", 3, SPARE, 0);
  call("start at the count", 3 | COUNT(2) | START(2), SPARE, 0);
  call("start", 3 | COUNT(2) | START(1), SPARE, 0);
  call("a header for what has none", 2 | HEADER(1), SPARE, 0);
  call("unaligned input", 2, SPARE + 4, 0);
  call("input across pages", 2, SPARE + 0xff0, 0);
  call("input outside", 2, OUTSIDE, 0);
  call("unaligned output", 0x8001, 0, SPARE + 0x1004);
  call("output outside", 0x8001, 0, OUTSIDE);
  call("fast with output", 0x8001 | FAST, 0, 0);
  call("fast and too long", 0x5c | FAST, 0, 0);

  input[0] = 0, input[1] = 8, input[2] = 3;
  call("a reserved flag", 2, SPARE, 0);
  input[0] = 1ul << 63, input[1] = 0;
  call("an address space that cannot be", 2, SPARE, 0);
  input[1] = 2;
  call("all address spaces", 2, SPARE, 0);
  input[1] = 4;
  input[0] = 0, input[3] = WINDOW | 0xfff, input[4] = WINDOW;
  call("a list of what is not global", 3 | COUNT(2), SPARE, 0);
  input[1] = 3;
  call("a long list", 3 | COUNT(2), SPARE, 0);
  input[1] = 2, input[2] = 2, input[3] = 0;
  call("a set of unknown format", 0x13, SPARE, 0);
  input[1] = 2, input[2] = 0, input[3] = 1, input[4] = 3;
  call("a set with a bank", 0x13 | HEADER(1), SPARE, 0);
  call("a set without its bank", 0x13, SPARE, 0);
  kernel(vmcall_xmm), in.cx = 3 | FAST | COUNT(1), in.r8 = 3, in.r9 = 3, in.r10 = WINDOW, go("a list in XMM0");

  for (word vector = 14; vector <= 256; vector += vector == 16 ? 239 : 1)
    kernel(vmcall_code), in.cx = 0xb | FAST, in.dx = vector, go("IPI to nobody, vector %x", vector);
  kernel(vmcall_code), in.cx = 0xb | FAST, in.dx = 0x11ul << 32 | 0x40, go("IPI to another trust level");
  input[0] = 0x40, input[1] = 0, input[2] = 2, input[3] = 0;
  call("IPI to a set without its bank", 0x15, SPARE, 0);
  input[1] = 5;
  call("IPI to a set of unknown format", 0x15, SPARE, 0);

  input[0] = -1ul, input[1] = 0xfffffffe, input[2] = 0x90003ul | 0x100ul << 32;
  call("registers", 0x50 | COUNT(2), SPARE, SPARE + 0x1000);
  print(" %x %x %x %x", output[0], output[1], output[2], output[3]);
  input[2] = 0x90003ul | 0xdeadul << 32;
  call("a register that does not exist", 0x50 | COUNT(2), SPARE, SPARE + 0x1000);
  input[1] = 9;
  call("registers of nobody", 0x50 | COUNT(1), SPARE, SPARE + 0x1000);
  input[0] = 5;
  call("registers of another partition", 0x50 | COUNT(1), SPARE, SPARE + 0x1000);
  input[0] = -1ul, input[1] = 1, input[2] = 0xa0003, input[3] = 0, input[4] = 0x10044, input[5] = 0;
  call("set a register of the other vCPU", 0x51 | COUNT(1), SPARE, 0);
  input[0] = 7, input[1] = 1ul | 241ul << 32;
  call("a message of 241 bytes", 0x5c, SPARE, 0);
  input[1] = 1ul | 8ul << 32;
  call("a message to nobody", 0x5c, SPARE, 0);
}

static u64 now(void) { return rdmsr(TIME_REF_COUNT); }

static void wait(u64 units) {
  for (u64 end = now() + units; now() < end;) asm volatile("pause");
}

static void clock(void) {
  volatile u64 *page = (u64 *)OVERLAY(2);
  page[0] = 77;
  wrmsr(REFERENCE_TSC, OVERLAY(2) | 1);
  u64 before = now(), tsc, high, low;
  asm volatile("lfence\nrdtsc" : "=a"(low), "=d"(high));
  tsc = high << 32 | low;
  u64 from_page = (u64)((unsigned __int128)tsc * page[1] >> 64) + page[2];
  print("\nTSC page: sequence %x scale %x %s", (word)(u32)page[0], page[1], before <= from_page && from_page <= now() ? "in order" : "out of order");
  wrmsr(REFERENCE_TSC, 0);
  print(" below %x", page[0]);
}

static void interrupts(void) {
  volatile u32 *assist = (u32 *)OVERLAY(3);
  apic[0xf0 / 4] = 0x1ff;
  wrmsr(VP_ASSIST, OVERLAY(3) | 1);
  for (int i = 0; i < 2; i++) {
    kernel(vmcall_code), in.cx = 0xb | FAST, in.dx = 0x60 + i, in.r8 = 1, go("IPI to itself");
    kernel(sti_code), go("interrupt");
    print(" no EOI required %d", (word)(*assist & 1)), *assist = 0;
  }
  print(" in service %x", (word)apic[0x130 / 4]);
  wrmsr(VP_ASSIST, 0);
  wrmsr(ICR, 0x40062), kernel(sti_code), go("interrupt by the ICR MSR");
  print(" in service %x", (word)apic[0x130 / 4]), wrmsr(EOI, 0), print(" after the EOI MSR %x", (word)apic[0x130 / 4]);
}

static void message(const char *name, volatile u32 *slot) {
  print("\n%s: type %x size %x flags %x timer %x", name, (word)slot[0], (word)(slot[1] & 255), (word)(slot[1] >> 8 & 255), (word)slot[4]);
  print(" %s", *(volatile u64 *)(slot + 6) <= *(volatile u64 *)(slot + 8) ? "in time" : "too early");
}

static void timers(void) {
  volatile u32 *slot = (u32 *)OVERLAY(5) + 2 * 64;
  wrmsr(SIEFP, OVERLAY(4) | 1), wrmsr(SIMP, OVERLAY(5) | 1);
  wrmsr(SINT(2), 0x70), wrmsr(SCONTROL, 1);
  wrmsr(TIMER_CONFIG(0), 0x20009), wrmsr(TIMER_COUNT(0), now() + 100);
  print("\ntimer: config %x", rdmsr(TIMER_CONFIG(0)));
  wait(200);
  print(" then %x", rdmsr(TIMER_CONFIG(0)));
  message("message", slot);
  kernel(sti_code), go("its interrupt"), wrmsr(EOI, 0);
  /* The slot is taken: the next one waits for the end of this one. */
  wrmsr(TIMER_CONFIG(1), 0x20009), wrmsr(TIMER_COUNT(1), 1);
  message("second message", slot);
  slot[0] = 0, wrmsr(EOM, 0);
  message("after EOM", slot), slot[0] = 0;
  kernel(sti_code), go("its interrupt"), wrmsr(EOI, 0);
  wrmsr(TIMER_CONFIG(2), 0x1719), wrmsr(TIMER_COUNT(2), now() + 100), wait(200);
  kernel(sti_code), go("direct"), wrmsr(EOI, 0);
  wrmsr(TIMER_CONFIG(3), 0x1723), wrmsr(TIMER_COUNT(3), 1000);
  for (int i = 0; i < 3; i++) wait(1100), kernel(sti_code), go("periodic"), wrmsr(EOI, 0);
  wrmsr(TIMER_COUNT(3), 0), print(" stopped %x", rdmsr(TIMER_CONFIG(3)));
  wrmsr(SINT(2), 0x20074), wrmsr(TIMER_CONFIG(0), 0x20009), wrmsr(TIMER_COUNT(0), 1), kernel(sti_code), go("with automatic EOI");
  print(" in service %x", (word)(apic[0x130 / 4] | apic[0x120 / 4])), slot[0] = 0;
  wrmsr(SCONTROL, 0), wrmsr(TIMER_COUNT(1), 1);
  print("\nwithout SCONTROL: type %x", (word)slot[0]);
  wrmsr(SIMP, 0), wrmsr(SIEFP, 0);
}

/* Takes every interrupt that waits. */
static void drain(void) {
  do kernel(sti_code), run(&in), wrmsr(EOI, 0);
  while (out.vector != 3);
}

/* The idle MSR ends with an interrupt that waits, whatever IF says, and does not take it. */
static void idle(void) {
  drain();
  u64 start = now();
  wrmsr(TIMER_CONFIG(2), 0x1758), wrmsr(TIMER_COUNT(2), start + 5000);
  print("\nidle: %x", rdmsr(GUEST_IDLE)), print(" %s", now() >= start + 5000 ? "slept" : "did not sleep");
  kernel(nothing), go("interrupts are still off");
  kernel(sti_code), go("and then on"), wrmsr(EOI, 0);
}

static void crash(void) {
  static const char text[] = "the guest's last words\nin two lines\x1b[2J";
  char *at = (char *)OVERLAY(6);
  for (unsigned i = 0; i < sizeof text; i++) at[i] = text[i];
  for (int i = 0; i < 5; i++) wrmsr(CRASH_P(i), i + 1);
  wrmsr(CRASH_CTL, 1ul << 63);
  wrmsr(CRASH_P(3), OVERLAY(6)), wrmsr(CRASH_P(4), sizeof text);
  wrmsr(CRASH_CTL, 3ul << 62);
  wrmsr(CRASH_P(3), OUTSIDE), wrmsr(CRASH_CTL, 3ul << 62);
  print("\ncrash: control %x", rdmsr(CRASH_CTL));
}

int main(void) {
  map(100, 0xfee00000, P | W);
  leaves();
  registers();
  hypercall_page();
  calls();
  clock();
  interrupts();
  timers();
  idle();
  crash();
  return 0;
}
