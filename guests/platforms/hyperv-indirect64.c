/*
 * Hyper-V with synthetic timers but without their direct mode, and without input in XMM registers (Microsoft,
 * Hypervisor Top Level Functional Specification).
 */
#include "guest.h"

CODE(cpuid_code, "cpuid");
CODE(wrmsr_code, "wrmsr");
CODE(vmcall_xmm, "movq %r9, %xmm0\nvmcall");

int main(void) {
  kernel(cpuid_code), in.ax = 0x40000003, go("CPUID 40000003");
  for (int i = 0; i < 4; i++) {
    u32 config = 0x400000b0 + 2 * i;
    wrmsr(config, 0x20008);
    kernel(wrmsr_code), in.cx = config, in.ax = 0x1718, go("WRMSR %x, direct", (word)config);
    print(" still %x", rdmsr(config));
  }
  wrmsr(0x40000000, 0x8100ul << 48), wrmsr(0x40000001, (SPARE + 0x10000) | 1);
  kernel(vmcall_xmm), in.cx = 0x10003 | 1ul << 32, in.r8 = 3, go("a list in XMM0");
  return 0;
}
