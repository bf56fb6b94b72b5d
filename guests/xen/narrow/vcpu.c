/* Vcpus of the 32-bit kernel: what Xen says by CPUID, a second one, and waiting for an event. */
#include "narrow.h"

/* CPUID by forced emulation. */
void leaves(void) {
  for (u32 leaf = 0; leaf < 6; leaf++) {
    u32 a = 0x40000000 + leaf, b, c = 0, d;
    asm volatile("ud2; .ascii \"xen\"; cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    /* The frequency of the TSC is the host's. */
    if (leaf == 3) print("leaf 3 %x\n", a & 1);
    else print("leaf %x %x %x %x %x\n", leaf, a, b, c, d);
  }
}

/* struct compat_vcpu_guest_context, by its words. */
enum { FLAGS = 0x200 / 4, EIP = 0x224 / 4, CS = 0x228 / 4, EFLAGS = 0x22c / 4, ESP = 0x230 / 4, SS = 0x234 / 4, ES = 0x238 / 4,
       DS = 0x23c / 4, KERNEL_SS = 0xa94 / 4, KERNEL_SP = 0xa98 / 4, CR3 = 0xaa8 / 4, EVENT_CS = 0xadc / 4, EVENT = 0xae0 / 4,
       FAILSAFE_CS = 0xae4 / 4, FAILSAFE = 0xae8 / 4, WORDS = 0xaf0 / 4 };

void vcpus(void) {
  static u32 context[WORDS];
  static u8 stack[PAGE];
  static const char name[] = "VCPUOP_initialise";
  context[FLAGS] = 4;
  context[EIP] = (u32)second, context[CS] = 0xe019, context[EFLAGS] = 0x202;
  context[ESP] = (u32)stack + PAGE, context[SS] = context[ES] = context[DS] = 0xe021;
  context[KERNEL_SS] = 0xe021, context[KERNEL_SP] = (u32)stack + PAGE;
  context[CR3] = frame_of((void *)start_info->pt_base) * PAGE;
  context[EVENT_CS] = context[FAILSAFE_CS] = 0xe019, context[EVENT] = context[FAILSAFE] = (u32)handler;
  context[CR3] = NO_FRAME * PAGE, CALL(name, 24, 0, 1, context, 0);
  context[CR3] = frame_of((void *)start_info->pt_base) * PAGE, CALL(name, 24, 0, 1, context, 0);
  CALL(name, 24, 0, 1, context, 0);
  CALL("VCPUOP_up", 24, 1, 1, 0, 0);
  while (!mark) hypercall(29, 0, 0, 0, 0, 0);
  while (xen_call(24, 3, 1, 0, 0)) hypercall(29, 0, 0, 0, 0, 0);
  print("it was there\n");
}

/* An event that waits ends the wait: it comes, and goes back by iret. */
void waiting(void) {
  map(shared_page, start_info->shared_info | 3);
  OP("CALLBACKOP_register", 30, 0, HALVES(0, 0), 0xe019, (u32)event);
  PUT(0), xen_call(32, 7, (u32)words, 0, 0);
  u32 port = words[1];
  PUT(port), xen_call(32, 4, (u32)words, 0, 0);
  CALL("SCHEDOP_block", 29, 1, 0, 0, 0);
  print("%x events\n", events);
  shared_page[1] = 1;
  PUT(port), xen_call(32, 3, (u32)words, 0, 0);
}
