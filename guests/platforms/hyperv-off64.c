/*
 * Hyper-V without any feature: what is left of leaves, MSRs and hypercalls (Microsoft, Hypervisor Top Level Functional
 * Specification: without its privilege an MSR is #GP; a call is denied, or has no code).
 */
#include "guest.h"

CODE(cpuid_code, "cpuid");
CODE(rdmsr_code, "rdmsr");
CODE(wrmsr_code, "wrmsr");
CODE(vmcall_code, "vmcall");

int main(void) {
  for (u32 leaf = 0x40000000; leaf <= 0x40000006; leaf++) kernel(cpuid_code), in.ax = leaf, go("CPUID %x", (word)leaf);
  static const struct { u32 first, last; } ranges[] = {{0x40000000, 0x40000003}, {0x40000010, 0x40000010}, {0x40000020, 0x40000023}, {0x40000070, 0x40000073}, {0x40000080, 0x40000084}, {0x40000090, 0x4000009f}, {0x400000b0, 0x400000b7}, {0x400000f0, 0x400000f0}, {0x40000100, 0x40000108}, {0x40000118, 0x40000118}};
  for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++)
    for (u32 msr = ranges[i].first; msr <= ranges[i].last; msr++) {
      kernel(rdmsr_code), in.cx = msr, go("RDMSR %x", (word)msr);
      kernel(wrmsr_code), in.cx = msr, go("WRMSR %x", (word)msr);
    }
  wrmsr(0x40000000, 0x8100ul << 48), wrmsr(0x40000001, (SPARE + 0x10000) | 1);
  static const u32 calls[] = {2, 3, 8, 0xb, 0x13, 0x14, 0x15, 0x50, 0x51, 0x5c, 0x5d, 0x8001};
  for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
    kernel(vmcall_code), in.cx = calls[i], in.dx = SPARE, in.r8 = SPARE + 0x1000, go("call %x", (word)calls[i]);
  return 0;
}
