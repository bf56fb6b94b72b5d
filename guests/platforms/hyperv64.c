/*
 * Hyper-V's interface from inside, with every feature: leaves, every MSR in ring 0 and 3 with good and bad values, the
 * hypercall page, hypercalls in all forms, messages, timers, EOIs left out, the idle MSR, the last words, the reset
 * (Microsoft, Hypervisor Top Level Functional Specification).
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
#define RESET 0x40000003
#define VP_RUNTIME 0x40000010
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
#define REENLIGHTENMENT 0x40000106
#define EMULATION_CONTROL 0x40000107
#define EMULATION_STATUS 0x40000108
#define INVARIANT 0x40000118

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
  static const struct { u32 first, last; } ranges[] = {{0x40000000, 0x40000004}, {0x4000000f, 0x40000011}, {0x40000022, 0x40000024}, {0x40000070, 0x40000074}, {0x40000080, 0x40000085}, {0x40000090, 0x400000a0}, {0x400000b0, 0x400000b8}, {0x400000f1, 0x400000f2}, {0x40000100, 0x40000109}, {0x40000118, 0x40000119}};
  for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++)
    for (u32 msr = ranges[i].first; msr <= ranges[i].last; msr++) {
      kernel(rdmsr_code), in.cx = msr;
      if (msr != VP_RUNTIME) go("RDMSR %x", (word)msr);
      user(rdmsr_code), in.cx = msr, go("RDMSR %x, ring 3", (word)msr);
      user(wrmsr_code), in.cx = msr, go("WRMSR %x, ring 3", (word)msr);
    }
  static const u32 read_only[] = {0x40000002, VP_RUNTIME, 0x40000020, 0x40000022, 0x40000023, 0x40000081, GUEST_IDLE};
  for (unsigned i = 0; i < sizeof read_only / sizeof *read_only; i++) write("read-only", read_only[i], 1);
  write("0", RESET, 0);
  write("2", RESET, 2);
  u64 runtime = rdmsr(VP_RUNTIME);
  for (int i = 0; i < 10000; i++) asm volatile("" : : : "memory");
  print("\nruntime %s", runtime < rdmsr(VP_RUNTIME) ? "grows" : "stands");
  for (int i = 0; i < 16; i++) {
    write("vector ff, masked, automatic EOI, polling", SINT(i), 0x700ff);
    write("vector 15", SINT(i), 15), print(" still %x", rdmsr(SINT(i)));
    write("vector 15, masked", SINT(i), 0x1000f);
    write("vector 16", SINT(i), 16), wrmsr(SINT(i), 0x10000);
  }
  for (int i = 0; i < 4; i++) {
    write("message to source 5, lazy", TIMER_CONFIG(i), 0x50006), write("", TIMER_COUNT(i), 1000 + i);
    print(" reads %x %x", rdmsr(TIMER_CONFIG(i)), rdmsr(TIMER_COUNT(i)));
    wrmsr(TIMER_CONFIG(i), 0), wrmsr(TIMER_COUNT(i), 0);
  }
  for (int i = 0; i < 5; i++) write("", CRASH_P(i), 0x1234567800000000 + i), print(" reads %x", rdmsr(CRASH_P(i)));
  write("vector ee, enabled, vCPU 1", REENLIGHTENMENT, 0x1000100ee), print(" reads %x", rdmsr(REENLIGHTENMENT));
  write("on", EMULATION_CONTROL, 1), print(" reads %x", rdmsr(EMULATION_CONTROL));
  write("0", EMULATION_STATUS, 0);
  kernel(cpuid_code), in.ax = 0x80000007, go("CPUID 80000007");
  write("2", INVARIANT, 2);
  write("1", INVARIANT, 1), print(" reads %x", rdmsr(INVARIANT));
  write("back", INVARIANT, 0);
  kernel(cpuid_code), in.ax = 0x80000007, go("CPUID 80000007");
  write("outside", VP_ASSIST, OUTSIDE | 1);
  write("reserved", VP_ASSIST, 0xffe);
  kernel(rdmsr_code), in.cx = VP_ASSIST, go("RDMSR reserved");
  write("outside", SIMP, OUTSIDE | 1);
  write("outside", SIEFP, OUTSIDE | 1);
  write("outside", REFERENCE_TSC, OUTSIDE | 1), print(" reads %x", rdmsr(REFERENCE_TSC));
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

/* Codes by what they answer to a call in which all is 0; those that Windows has but this partition may not are denied. */
static void codes(void) {
  static const u32 answers[] = {2, 6};
  for (int i = 0; i < 2; i++) {
    print("\ncodes with status %x:", (word)answers[i]);
    int run_of = 0;
    for (word code = 0; code <= 0x200; code++) {
      kernel(vmcall_code), in.cx = code, in.dx = SPARE, in.r8 = SPARE + 0x1000, run(&in);
      int is = code < 0x200 && out.ax == answers[i];
      if (is && !run_of) print(" %x", code);
      if (!is && run_of > 1) print("-%x", code - 1);
      run_of = is ? run_of + 1 : 0;
    }
  }
}

/* Of each call: reserved bits, a wrong count, a header where none may be; input that is unaligned, crosses pages or is no RAM. */
static void forms(void) {
  static const struct { u16 code; u8 repeats, header, output; } list[] = {{2}, {3, 1}, {8}, {0xb}, {0x13, 0, 1}, {0x14, 1, 1}, {0x15, 0, 1}, {0x50, 1}, {0x51, 1}, {0x5c}, {0x5d}, {0x8001, 0, 0, 1}};
  for (int k = 0; k < 512; k++) input[k] = 0;
  for (unsigned i = 0; i < sizeof list / sizeof *list; i++) {
    word code = list[i].code | (list[i].repeats ? COUNT(1) : 0);
    word good = SPARE + 0x1000;
    print("\nform of %x:", (word)list[i].code);
#define FORM(control, at) kernel(vmcall_code), in.cx = (control), in.dx = list[i].output ? good : (at), in.r8 = list[i].output ? (at) : good, run(&in), print(" %x", out.ax)
    FORM(code | 1ul << 27, SPARE), FORM(code | 1ul << 44, SPARE), FORM(code | 1ul << 60, SPARE);
    FORM(code ^ COUNT(1), SPARE), FORM(code | START(1), SPARE);
    if (!list[i].header) FORM(code | HEADER(1), SPARE);
    print(" at");
    FORM(code, SPARE + 4), FORM(code, SPARE + 0xffc), FORM(code, OUTSIDE);
    /* The last eight bytes of a page are enough for some. */
    FORM(code, SPARE + 0xff8);
  }
}

static void calls(void) {
  static const u32 list[] = {1, 2, 3, 8, 0xb, 0x13, 0x14, 0x15, 0x50, 0x51, 0x5c, 0x5d, 0x8001, 0x8002, 0xffff};
  for (unsigned i = 0; i < sizeof list / sizeof *list; i++) {
    for (int k = 0; k < 64; k++) input[k] = output[k] = 0;
    kernel(vmcall_code), in.cx = list[i], in.dx = SPARE, in.r8 = SPARE + 0x1000, go("call %x", (word)list[i]);
  }
  codes();
  forms();
  user(vmcall_code), in.cx = 8 | FAST, go("ring 3");
  kernel(vmmcall_code), in.cx = 8 | FAST, go("VMMCALL");
  gdt[FREE / 8] = descriptor(0, 0xfffff, 0xc9b);
  kernel(vmcall_32), in.cs = FREE, in.ax = 8 | FAST, go("32 bits");
  kernel(vmcall_32), in.cs = FREE, in.ax = 2, in.dx = 0, in.cx = SPARE + 4, go("32 bits, unaligned");
  kernel(vmcall_32), in.cs = FREE, in.ax = 3, in.dx = 2, in.cx = SPARE, in.di = 0, in.si = 0, go("32 bits, 2 repetitions");
  user(vmcall_32), in.cs = USER_CS32, in.ax = 8 | FAST, go("32 bits, ring 3");

  call("start at the count", 3 | COUNT(2) | START(2), SPARE, 0);
  call("start", 3 | COUNT(2) | START(1), SPARE, 0);
  call("input across pages", 2, SPARE + 0xff0, 0);
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
  input[2] = 0, input[3] = 1, input[4] = 3, input[5] = WINDOW | 1;
  call("a list for a set", 0x14 | HEADER(1) | COUNT(1), SPARE, 0);
  call("a list for a set without its bank", 0x14 | COUNT(1), SPARE, 0);
  input[2] = 1;
  call("a list for everybody", 0x14 | HEADER(1) | COUNT(1), SPARE, 0);
  input[2] = 2;
  call("a list for a set of unknown format", 0x14 | HEADER(1) | COUNT(1), SPARE, 0);
  input[1] = 6, input[2] = 1;
  call("a list of what is not global for a set", 0x14 | HEADER(1) | COUNT(1), SPARE, 0);
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
  input[4] = 15;
  call("set a register to what its MSR refuses", 0x51 | COUNT(1), SPARE, 0);
  input[4] = 0x10000, input[5] = 1;
  call("set a register to more than 64 bits", 0x51 | COUNT(1), SPARE, 0);
  input[2] = 0x90003, input[5] = 0;
  call("set a register that can only be read", 0x51 | COUNT(1), SPARE, 0);
  input[1] = 1ul | 0x11ul << 32, input[2] = 0xa0003;
  call("set a register of another trust level", 0x51 | COUNT(1), SPARE, 0);
  input[1] = 2;
  call("set a register of nobody", 0x51 | COUNT(1), SPARE, 0);
  input[0] = 5;
  call("set a register of another partition", 0x51 | COUNT(1), SPARE, 0);
  input[0] = 7, input[1] = 1ul | 241ul << 32;
  call("a message of 241 bytes", 0x5c, SPARE, 0);
  input[1] = 1ul | 8ul << 32;
  call("a message to nobody", 0x5c, SPARE, 0);
}

/* Registers by their names are MSRs and leaves: each is read in both ways, and written where that changes nothing. */
static void named(void) {
  static const struct { u32 name, msr, count; } list[] = {{0x90002, GUEST_OS_ID, 1}, {0x90003, 0x40000002, 1}, {0x90013, VP_ASSIST, 1}, {0x90017, REFERENCE_TSC, 1}, {0x210, CRASH_P(0), 6}, {0xa0000, SINT(0), 16}, {0xa0010, SCONTROL, 5}, {0xb0000, TIMER_CONFIG(0), 8}};
  print("\nregisters by name:");
  input[0] = -1ul, input[1] = 0xfffffffe;
  for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
    for (u32 k = 0; k < list[i].count; k++) {
      u32 name = list[i].name + k;
      input[2] = name;
      kernel(vmcall_code), in.cx = 0x50 | COUNT(1), in.dx = SPARE, in.r8 = SPARE + 0x1000, run(&in);
      print(" %s", (out.ax & 0xffff) == 0 && output[0] == rdmsr(list[i].msr + k) && output[1] == 0 ? "same" : "differs");
      input[3] = 0, input[4] = output[0], input[5] = 0;
      kernel(vmcall_code), in.cx = 0x51 | COUNT(1), in.dx = SPARE, run(&in);
      if (out.ax & 0xffff) print(" (%x: %x)", (word)name, out.ax);
    }
  static const struct { u32 name, leaf; } leaves[] = {{0x100, 0x40000002}, {0x200, 0x40000003}, {0x201, 0x40000004}, {0x202, 0x40000005}};
  for (unsigned i = 0; i < sizeof leaves / sizeof *leaves; i++) {
    input[2] = leaves[i].name;
    kernel(vmcall_code), in.cx = 0x50 | COUNT(1), in.dx = SPARE, in.r8 = SPARE + 0x1000, run(&in);
    word status = out.ax & 0xffff;
    kernel(cpuid_code), in.ax = leaves[i].leaf, run(&in);
    print(" %s", status == 0 && output[0] == (out.ax | out.bx << 32) && output[1] == (out.cx | out.dx << 32) ? "same" : "differs");
  }
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
  input[0] = 0x63, input[1] = 0, input[2] = 1, input[3] = 1;
  call("IPI to a set", 0x15 | HEADER(1), SPARE, 0), kernel(sti_code), go("interrupt"), wrmsr(EOI, 0);
  input[1] = 1;
  call("IPI to everybody", 0x15 | HEADER(1), SPARE, 0), kernel(sti_code), go("interrupt"), wrmsr(EOI, 0);
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

/* Nothing comes after it. */
static void reset(void) {
  print("\nreset\n");
  wrmsr(RESET, 1);
  print("went on");
}

int main(void) {
  map(100, 0xfee00000, P | W);
  leaves();
  registers();
  hypercall_page();
  calls();
  named();
  clock();
  interrupts();
  timers();
  idle();
  crash();
  reset();
  return 0;
}
