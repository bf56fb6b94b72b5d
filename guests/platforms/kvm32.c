/* KVM's hypercalls in 32-bit protected mode, and in real mode, where nothing forbids them. */
#include "guest.h"

CODE(vmcall_code, "vmcall");
CODE(vmmcall_code, "vmmcall");
CODE16(vmcall_16, "vmcall");
CODE16(cpuid_16, "cpuid");
CODE16(rdmsr_16, "rdmsr");
CODE16(wrmsr_16, "wrmsr");

#define PAGE 0x600000

int main(void) {
  static const u16 numbers[] = {0, 1, 5, 9, 10, 11, 12, 1000};
  for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    kernel(vmcall_code), in.ax = numbers[i], in.cx = 9, in.di = 7, go("VMCALL %d", (int)numbers[i]);
    user(vmcall_code), in.ax = numbers[i], in.cx = 9, go("VMCALL %d, ring 3", (int)numbers[i]);
    real(vmcall_16), in.ax = numbers[i], in.cx = 9, go("VMCALL %d, real mode", (int)numbers[i]);
  }
  kernel(vmmcall_code), in.ax = 1, go("VMMCALL 1");
  real(cpuid_16), in.ax = 0x40000001, go("CPUID, real mode");
  real(rdmsr_16), in.cx = 0x4b564d05, go("RDMSR, real mode");
  real(wrmsr_16), in.cx = 0x4b564d01, in.ax = PAGE | 1, go("WRMSR, real mode");
  volatile u32 *page = (u32 *)PAGE;
  print(" version %d mul %x flags %x", (int)page[0], (word)page[6], (word)(page[7] >> 8));
  return 0;
}
