/* VMware without any feature: what the backdoor, its hypercalls and the counters answer (open-vm-tools, backdoor_def.h). */
#include "guest.h"

#define MAGIC 0x564d5868
#define PORT 0x5658

CODE(in_32, "in %dx, %eax");
CODE(rep_outsb, "rep outsb");
CODE(rep_insb, "rep insb");
CODE(vmcall_code, "vmcall");
CODE(rdpmc_code, "rdpmc");
CODE(cpuid_code, "cpuid");

int main(void) {
  kernel(cpuid_code), in.ax = 0x40000000, go("CPUID 40000000");
  kernel(cpuid_code), in.ax = 0x40000010, go("CPUID 40000010");
  static const u32 commands[] = {1, 10, 17, 20, 45, 68, 91, 30, 0x1001e, 0x2001e, 0x3001e, 0x4001e, 0x5001e, 0x6001e};
  for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
    kernel(in_32), in.ax = MAGIC, in.bx = 0x49435052, in.cx = commands[i], in.dx = PORT, go("command %x", (word)commands[i]);
  kernel(in_32), in.ax = MAGIC, in.cx = 91, in.di = SPARE, in.dx = PORT, go("STEALCLOCK");
  kernel(rep_outsb), in.ax = MAGIC, in.bx = 0x10000, in.cx = 4, in.dx = PORT + 1, in.si = SPARE, go("REP OUTSB");
  kernel(rep_insb), in.ax = MAGIC, in.bx = 0x10000, in.cx = 4, in.dx = PORT + 1, in.di = SPARE, go("REP INSB");
  kernel(vmcall_code), in.ax = MAGIC, in.cx = 10, go("VMCALL");
  for (word counter = 0x10000; counter <= 0x10002; counter++) {
    kernel(rdpmc_code), in.cx = counter, go("RDPMC %x", counter);
    user(rdpmc_code), in.cx = counter, go("RDPMC %x, ring 3", counter);
  }
  return 0;
}
