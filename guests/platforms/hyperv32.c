/* Hyper-V's interface in 32-bit protected mode, with halves of registers in pairs, and in real mode. */
#include "guest.h"

CODE(vmcall_code, "vmcall");
CODE16(vmcall_16, "vmcall");
CODE16(cpuid_16, "cpuid");
CODE16(rdmsr_16, "rdmsr");
CODE16(wrmsr_16, "wrmsr");
CODE(vmcall_xmm, "movd %ebp, %xmm0\nvmcall");

#define FAST 0x10000
#define PAGE 0x600000
static volatile u32 *const input = (u32 *)0x601000;

static void call(const char *name, word code, word high, word in_high, word in_low, word out_high, word out_low) {
  kernel(vmcall_code), in.ax = code, in.dx = high, in.bx = in_high, in.cx = in_low, in.di = out_high, in.si = out_low;
  go("%s", name);
}

int main(void) {
  write_cr4(read_cr4() | 0x600);
  call("without a page", 8 | FAST, 0, 0, 0, 0, 0);
  real(wrmsr_16), in.cx = 0x40000000, in.dx = 0x81000000, go("identity, real mode");
  wrmsr(0x40000000, 0x8100ull << 48), wrmsr(0x40000001, PAGE | 1);
  real(rdmsr_16), in.cx = 0x40000001, go("RDMSR, real mode");
  real(cpuid_16), in.ax = 0x40000001, go("CPUID, real mode");
  real(vmcall_16), in.ax = 8, in.cx = 1, go("VMCALL, real mode");
  user(vmcall_code), in.ax = 8 | FAST, go("ring 3");
  call("wait", 8 | FAST, 0, 0, 5, 0, 0);
  call("unknown", 0x7777, 0, 0, 0, 0, 0);
  call("reserved 60", 2, 1u << 28, 0, (word)input, 0, 0);
  call("input above 4 GiB", 2, 0, 1, (word)input, 0, 0);
  call("unaligned", 2, 0, 0, (word)input + 4, 0, 0);
  input[2] = 3;
  call("space", 2, 0, 0, (word)input, 0, 0);
  call("a list of 2", 3, 2, 0, (word)input, 0, 0);
  call("a list from 2 of 2", 3, 2 | 2 << 16, 0, (word)input, 0, 0);
  input[0] = input[1] = -1u, input[2] = -2u, input[3] = 0, input[4] = 0x100;
  call("registers", 0x50, 1, 0, (word)input, 0, (word)input + 0x800);
  print(" %x %x", (word)input[0x200], (word)input[0x201]);
  /* Flags in the output pair, the mask's address list in XMM0. */
  kernel(vmcall_xmm), in.ax = 3 | FAST, in.dx = 1, in.si = 3, go("a list in XMM0");
  call("IPI to vector 15", 0xb | FAST, 0, 0, 15, 0, 0);
  call("IPI to nobody", 0xb | FAST, 0, 0, 16, 0, 0);
  return 0;
}
