/*
 * KVM's interface from inside, with every feature: hypercalls in all widths and rings, MSRs with good and bad values,
 * clock pages, asynchronous page faults, PV EOI, a vCPU that halts with interrupts off and is kicked, its steal time
 * (Linux, Documentation/virt/kvm/x86).
 */
#include "guest.h"

CODE(vmcall_code, "vmcall");
CODE(vmmcall_code, "vmmcall");
CODE32(vmcall_32, "vmcall");
CODE(rdmsr_code, "rdmsr");
CODE(wrmsr_code, "wrmsr");
CODE(cpuid_code, "cpuid");
CODE(sti_code, "sti\nnop\nnop\ncli");
CODE(vmcall_sti, "vmcall\nsti\nnop\nnop\ncli");

#define OLD_WALL_CLOCK 0x11
#define OLD_SYSTEM_TIME 0x12
#define WALL_CLOCK 0x4b564d00
#define SYSTEM_TIME 0x4b564d01
#define ASYNC_PF_EN 0x4b564d02
#define STEAL_TIME 0x4b564d03
#define PV_EOI 0x4b564d04
#define ASYNC_PF_INT 0x4b564d06
#define ASYNC_PF_ACK 0x4b564d07
#define MIGRATION_CONTROL 0x4b564d08
#define KICK_CPU 5
#define CLOCK_PAIRING 9
#define SEND_IPI 10
#define OUTSIDE (1ul << 36)

static volatile u32 *const apic = (u32 *)PAGE(100);
/* Words that the other vCPU and the hypervisor write. */
static volatile u32 *const shared = (u32 *)SPARE;
/* Real-mode code for the other vCPU. */
#define TRAMPOLINE 0x8000ul

static word call(word number, word a0, word a1, word a2, word a3) {
  word result;
  asm volatile("vmcall" : "=a"(result) : "a"(number), "b"(a0), "c"(a1), "d"(a2), "S"(a3) : "memory");
  return result;
}

static void hypercalls(void) {
  static const u32 numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 1000};
  for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    /* A clock that does not exist, an interrupt to nobody, a vCPU that is not there. */
    kernel(vmcall_code), in.ax = numbers[i], in.cx = 9, in.bx = 0, in.di = 7, go("VMCALL %d", (word)numbers[i]);
    user(vmcall_code), in.ax = numbers[i], in.cx = 9, go("VMCALL %d, ring 3", (word)numbers[i]);
  }
  kernel(vmmcall_code), in.ax = 1, go("VMMCALL 1");
  kernel(vmmcall_code), in.ax = 99, go("VMMCALL 99");
  kernel(vmcall_code), in.ax = 1ul << 32 | 1, go("VMCALL 100000001");
  gdt[FREE / 8] = descriptor(0, 0xfffff, 0xc9b);
  kernel(vmcall_32), in.cs = FREE, in.ax = 99, go("VMCALL 99 in 32 bits");
  kernel(vmcall_32), in.cs = FREE, in.ax = 1, go("VMCALL 1 in 32 bits");
  user(vmcall_32), in.cs = USER_CS32, in.ax = 1, go("VMCALL 1 in 32 bits, ring 3");
  kernel(vmcall_code), in.ax = SEND_IPI, in.bx = 1, in.si = 0x840, go("logical destination");
  kernel(vmcall_code), in.ax = SEND_IPI, in.bx = 1, in.si = 0x40040, go("shorthand");
}

static void write(const char *name, u32 msr, u64 value) {
  kernel(wrmsr_code), in.cx = msr, in.ax = (u32)value, in.dx = value >> 32, go("WRMSR %x %s", (word)msr, name);
}

static void read(u32 msr) {
  kernel(rdmsr_code), in.cx = msr, go("RDMSR %x", (word)msr);
  user(rdmsr_code), in.cx = msr, go("RDMSR %x, ring 3", (word)msr);
  user(wrmsr_code), in.cx = msr, go("WRMSR %x, ring 3", (word)msr);
}

static void msrs(void) {
  read(OLD_WALL_CLOCK), read(OLD_SYSTEM_TIME);
  for (u32 msr = 0x4b564d00; msr < 0x4b564d0a; msr++) read(msr);
  write("outside", OLD_WALL_CLOCK, OUTSIDE);
  write("outside", OLD_SYSTEM_TIME, OUTSIDE | 1);
  write("outside", WALL_CLOCK, OUTSIDE);
  write("outside", SYSTEM_TIME, OUTSIDE | 1);
  write("outside", ASYNC_PF_EN, OUTSIDE | 9);
  write("outside", STEAL_TIME, OUTSIDE | 1);
  write("outside", PV_EOI, OUTSIDE | 1);
  write("reserved", ASYNC_PF_EN, SPARE | 0x19);
  write("nested", ASYNC_PF_EN, SPARE | 0xd);
  write("reserved", STEAL_TIME, SPARE | 3);
  write("reserved", PV_EOI, SPARE | 3);
  write("2", 0x4b564d05, 2);
  write("0", 0x4b564d05, 0);
  write("100", ASYNC_PF_INT, 0x100);
  write("1", ASYNC_PF_ACK, 1);
  write("2", MIGRATION_CONTROL, 2);
  write("0", MIGRATION_CONTROL, 0);
  write("0", 0x4b564d09, 0);
  write("0", 0x4b564dff, 0);
  wrmsr(STEAL_TIME, 0), wrmsr(OLD_SYSTEM_TIME, 0), wrmsr(SYSTEM_TIME, 0);
}

static u64 rdtsc(void) {
  u32 low, high;
  asm volatile("lfence\nrdtsc" : "=a"(low), "=d"(high));
  return (u64)high << 32 | low;
}

/* With the old registers no promise is made about several vCPUs: flag 1 is not set. */
static void clock(const char *name, u32 msr) {
  volatile u32 *page = shared + 64;
  page[0] = 5;
  wrmsr(msr, (word)page | 1);
  print("\n%s: version %d mul %x shift %d flags %x", name, (word)page[0], (word)page[6], (word)(page[7] & 0xff), (word)(page[7] >> 8));
  volatile u64 *wide = (volatile u64 *)page;
  u64 before = rdtsc() - wide[1] + wide[2];
  wrmsr(msr, (word)page | 1);
  u64 then = wide[2], after = rdtsc() - wide[1] + wide[2];
  print(" %s", before <= then && then <= after && after - before < 1000000 ? "in order" : "out of order");
  print(" reads %x", rdmsr(msr) - (word)page);
  wrmsr(msr, 0);
}

/* The time of day at time 0, and of now with the TSC of the same moment. */
static void wall_clock(void) {
  volatile u32 *wall = shared + 96, *old = shared + 100;
  wall[0] = old[0] = 5, wall[2] = old[2] = -1u;
  wrmsr(WALL_CLOCK, (word)wall), wrmsr(OLD_WALL_CLOCK, (word)old);
  print("\nwall clock: version %d %s %s", (word)wall[0], wall[2] < 1000000000 ? "set" : "not set", wall[1] == old[1] && wall[2] == old[2] ? "twice" : "differs");
  print(" reads %x %x", rdmsr(WALL_CLOCK) - (word)old, rdmsr(OLD_WALL_CLOCK) - (word)old);
  volatile u64 *pair = (u64 *)(shared + 128);
  u64 before = rdtsc();
  print(" pairing %x", call(CLOCK_PAIRING, (word)pair, 0, 0, 0));
  print(" %s", pair[0] >= wall[1] && pair[0] <= wall[1] + 60 && pair[1] < 1000000000 && before <= pair[2] && pair[2] <= rdtsc() ? "now" : "another time");
  print(" another clock %x no RAM %x", call(CLOCK_PAIRING, (word)pair, 1, 0, 0), call(CLOCK_PAIRING, OUTSIDE, 0, 0, 0));
}

/* Whoever enables them is told once that all pages are ready: token ~0, by interrupt. */
static void async_page_faults(void) {
  volatile u32 *area = (u32 *)(SPARE + 0x1000);
  apic[0xf0 / 4] = 0x1ff;
  area[0] = area[1] = 0;
  wrmsr(ASYNC_PF_INT, 0x65), wrmsr(ASYNC_PF_EN, (word)area | 9);
  kernel(sti_code), go("a page is ready");
  print(" flags %x token %x", (word)area[0], (word)area[1]);
  area[1] = 0, wrmsr(ASYNC_PF_ACK, 1), apic[0xb0 / 4] = 0;
  kernel(sti_code), go("nothing more");
  print(" token %x registers %x %x", (word)area[1], rdmsr(ASYNC_PF_EN) - (word)area, rdmsr(ASYNC_PF_INT));
  wrmsr(ASYNC_PF_EN, 0);
}

static void interrupts(void) {
  volatile u32 *eoi = shared + 32;
  apic[0xf0 / 4] = 0x1ff;
  wrmsr(PV_EOI, (word)eoi | 1);
  *eoi = 0;
  /* To itself; its EOI may be left out. */
  kernel(vmcall_sti), in.ax = SEND_IPI, in.bx = 1, in.si = 0x60, go("interrupt");
  print(" offered %d", (word)*eoi);
  *eoi = 0;
  kernel(vmcall_sti), in.ax = SEND_IPI, in.bx = 1, in.si = 0x61, go("interrupt of the same class after an EOI by memory");
  print(" offered %d", (word)*eoi);
  /* Whoever looks takes the offer back. */
  print(" in service %x", (word)apic[0x130 / 4]);
  print(" offered %d", (word)*eoi);
  kernel(vmcall_sti), in.ax = SEND_IPI, in.bx = 1, in.si = 0x62, go("interrupt of the same class without an EOI");
  apic[0xb0 / 4] = 0;
  print(" in service after a true EOI %x", (word)apic[0x130 / 4]);
  wrmsr(PV_EOI, 0);
}

/* The other vCPU: registers its steal time, halts with interrupts off, counts how often it got on, and again. */
asm(".pushsection .code, \"ax\", @progbits\n.code16\n.globl other\nother: cli\nmov $0x7000, %ax\nmov %ax, %ds\n"
    "mov $0x4b564d03, %ecx\nmov $0x71001, %eax\nxor %edx, %edx\nwrmsr\n"
    "1: hlt\nincl 0\njmp 1b\n.globl other_end\nother_end:\n.code" DEFAULT_BITS "\n.popsection");
extern u8 other[], other_end[];

static volatile u32 *const count = (u32 *)0x70000;
/* Steal time: nanoseconds in 8 bytes, version, flags, preempted. */
static volatile u32 *const steal = (u32 *)0x71000;

static void wait_for(u32 value) {
  for (u64 end = rdtsc() + 100000000; *count != value && rdtsc() < end;) asm volatile("pause");
}

static void kicks(void) {
  for (u8 *from = other, *to = (u8 *)TRAMPOLINE; from < other_end;) *to++ = *from++;
  *count = 0;
  for (int i = 0; i < 16; i++) steal[i] = 0;
  apic[0x310 / 4] = 1 << 24, apic[0x300 / 4] = 0x4500;
  apic[0x310 / 4] = 1 << 24, apic[0x300 / 4] = 0x4600 | TRAMPOLINE >> 12;
  for (int i = 0; i < 100000; i++) asm volatile("pause");
  print("\nkicks: halted %d", (word)*count);
  print(" first %d", call(KICK_CPU, 0, 1, 0, 0)), wait_for(1), print(" went on %d", (word)*count);
  /* A maskable interrupt does not wake it. */
  apic[0x310 / 4] = 1 << 24, apic[0x300 / 4] = 0x4070;
  for (int i = 0; i < 100000; i++) asm volatile("pause");
  print(" after an interrupt %d", (word)*count);
  call(KICK_CPU, 0, 1, 0, 0), wait_for(2), print(" second %d", (word)*count);
  print(" after two requests to forget translations ");
  /* A vCPU that does not run forgets its translations before it runs again. */
  for (int i = 0; i < 2; i++) print("%d", (word)steal[4]), steal[4] |= 2, call(KICK_CPU, 0, 1, 0, 0), wait_for(3 + i), print("%d", (word)steal[4]);
  print(" version %s", (steal[2] & 1) == 0 ? "even" : "odd");
  print(" yield %d", call(11, 1, 0, 0, 0));
  /* A kick that finds it awake is not lost: the own next HLT is none. */
  call(KICK_CPU, 0, 0, 0, 0);
  asm volatile("hlt");
  print(" own HLT passed");
}

int main(void) {
  map(100, 0xfee00000, P | W);
  kernel(cpuid_code), in.ax = 0x40000000, go("CPUID 40000000");
  kernel(cpuid_code), in.ax = 0x40000001, go("CPUID 40000001");
  kernel(cpuid_code), in.ax = 0x40000010, go("CPUID 40000010");
  hypercalls();
  msrs();
  clock("clock", SYSTEM_TIME);
  clock("old clock", OLD_SYSTEM_TIME);
  wall_clock();
  async_page_faults();
  interrupts();
  kicks();
  return 0;
}
