/* KVM without any feature: what is left of leaves, MSRs and hypercalls (Linux, Documentation/virt/kvm/x86). */
#include "guest.h"

CODE(vmcall_code, "vmcall");
CODE(rdmsr_code, "rdmsr");
CODE(wrmsr_code, "wrmsr");
CODE(cpuid_code, "cpuid");

static void msr(u32 msr) {
  kernel(rdmsr_code), in.cx = msr, go("RDMSR %x", (word)msr);
  kernel(wrmsr_code), in.cx = msr, go("WRMSR %x", (word)msr);
}

int main(void) {
  static const u32 leaves[] = {0x40000000, 0x40000001, 0x40000010};
  for (unsigned i = 0; i < sizeof leaves / sizeof *leaves; i++) kernel(cpuid_code), in.ax = leaves[i], go("CPUID %x", (word)leaves[i]);
  msr(0x11), msr(0x12);
  for (u32 i = 0x4b564d00; i < 0x4b564d0a; i++) msr(i);
  for (word number = 0; number < 14; number++)
    kernel(vmcall_code), in.ax = number, in.bx = SPARE, in.si = 0x60, go("VMCALL %d", number);
  return 0;
}
