/*
 * Xen's interface from inside a PVH guest: hypercalls in rings 0 and 3, structures good and bad, event channels in both
 * ABIs, the upcall as an interrupt, a second vCPU by VCPUOP_initialise, memory that goes and comes (Xen's public
 * headers; what the errors are is Xen 4.17's).
 */
#include "guest.h"

CODE(vmcall_code, "vmcall");
CODE(vmcall_32, "vmcall");
CODE(cpuid_code, "cpuid");
CODE(wrmsr_code, "wrmsr");
CODE(page_code, "call *%rbx");
CODE(vmcall_sti, "vmcall\nsti\nnop\nnop\ncli");

#define SELF 0x7ff0
#define NOWHERE 0x7ffffff000ul
/* Frames of the spare memory: a structure, vcpu_info, control block, event words, a page that moves. */
#define BUFFER (SPARE + 0x1000)
#define INFO (SPARE + 0x2000)
#define CONTROL (SPARE + 0x3000)
#define WORDS (SPARE + 0x4000)
#define LIST (SPARE + 0x5000)
#define MOVING (SPARE + 0x6000)
#define VECTOR 0x80

static volatile u32 *const buffer = (u32 *)BUFFER;
static volatile u64 *const wide = (u64 *)BUFFER;

static word call(word number, word a0, word a1, word a2) {
  word result;
  asm volatile("vmcall" : "=a"(result) : "a"(number), "D"(a0), "S"(a1), "d"(a2) : "memory");
  return result;
}

/* A command with its structure of 32-bit words. */
static word op(word number, word command, u32 w0, u32 w1, u32 w2, u32 w3) {
  buffer[0] = w0, buffer[1] = w1, buffer[2] = w2, buffer[3] = w3;
  return call(number, command, BUFFER, 0);
}

static void say(const char *name, word answer) { print("\n%s %d", name, answer); }

static void numbers(void) {
  for (word number = 0; number < 64; number++)
    if (number != 13 && number != 29) kernel(vmcall_code), in.ax = number, in.si = NOWHERE, in.dx = NOWHERE, go("VMCALL %d", number);
  user(vmcall_code), in.ax = 17, go("VMCALL 17, ring 3");
  kernel(vmcall_code), in.ax = 1ul << 32 | 17, go("VMCALL 100000011");
  gdt[FREE / 8] = descriptor(0, 0xfffff, 0xc9b);
  kernel(vmcall_32), in.cs = FREE, in.ax = 17, go("VMCALL 17 in 32 bits");
  for (word leaf = 0; leaf < 6; leaf++) kernel(cpuid_code), in.ax = 0x40000000 + leaf, go("CPUID %x", 0x40000000 + leaf);
  kernel(wrmsr_code), in.cx = 0x40000000, in.ax = BUFFER + 1, go("hypercall page 1");
  kernel(wrmsr_code), in.cx = 0x40000000, in.ax = LIST, go("hypercall page 0");
  kernel(page_code), in.bx = LIST + 17 * 32, go("its stub 17");
}

static void events(void) {
  say("alloc_unbound", op(32, 6, SELF, 0, 0, 0)), print(" port %d", (word)buffer[1]);
  say("bind_ipi", op(32, 7, 0, 0, 0, 0)), print(" port %d", (word)buffer[1]);
  say("bind_virq", op(32, 1, 0, 0, 0, 0)), print(" port %d", (word)buffer[2]);
  say("bind_virq again", op(32, 1, 0, 0, 0, 0));
  say("bind_vcpu of it", op(32, 8, 3 + 2, 0, 0, 0));
  say("close 0", op(32, 3, 0, 0, 0, 0));
  say("close 999", op(32, 3, 999, 0, 0, 0));
  say("status", op(32, 5, SELF, 4, 0, 0)), print(" is %d", (word)buffer[2]);
}

/* The port of `bind_ipi`: console and xenstore have 1 and 2. */
#define IPI 4

static void upcalls(void) {
  wide[0] = INFO >> 12, wide[1] = 4;
  say("register_vcpu_info, odd", call(24, 10, 0, BUFFER));
  wide[1] = 64;
  say("register_vcpu_info", call(24, 10, 0, BUFFER));
  say("again", call(24, 10, 0, BUFFER));
  volatile u8 *pending = (u8 *)INFO + 64;
  print(" pending %d", (word)*pending);
  *pending = 0, *(volatile u64 *)(INFO + 72) = 0;
  wide[0] = SELF, wide[1] = 2ul << 56 | VECTOR;
  say("callback by vector", call(34, 0, BUFFER, 0));
  buffer[0] = IPI;
  kernel(vmcall_sti), in.ax = 32, in.di = 4, in.si = BUFFER, go("event, callback");
  print(" pending %d selector %x", (word)*pending, *(word *)(INFO + 72));
  *pending = 0, *(volatile u64 *)(INFO + 72) = 0;
  kernel(vmcall_sti), in.ax = 17, go("no event");

  wide[0] = CONTROL >> 12, buffer[2] = 0, buffer[3] = 0, buffer[4] = 0;
  say("init_control", call(32, 11, BUFFER, 0)), print(" bits %d", (word)buffer[4]);
  wide[0] = WORDS >> 12;
  say("expand_array", call(32, 12, BUFFER, 0));
  print(" ready %x head %d", (word) * (u32 *)CONTROL, (word)((u32 *)CONTROL)[2 + 7]);
  *(volatile u32 *)CONTROL = 0, ((volatile u32 *)WORDS)[IPI] = 0, *pending = 0;
  say("priority 2", op(32, 13, IPI, 2, 0, 0));
  buffer[0] = IPI;
  kernel(vmcall_sti), in.ax = 32, in.di = 4, in.si = BUFFER, go("event, FIFO");
  print(" ready %x head %d", (word) * (u32 *)CONTROL, (word)((u32 *)CONTROL)[2 + 2]);
  *pending = 0;
}

static void others(void) {
  static volatile u32 *const mark = (u32 *)LIST;
  *mark = 0;
  /* 32 bits without paging: mov $mark, %edi; movl $7, (%edi); hlt. */
  static const u8 code[] = {0xbf, 0, 0, 0, 0, 0xc7, 0x07, 7, 0, 0, 0, 0xf4};
  volatile u8 *at = (u8 *)MOVING;
  for (unsigned i = 0; i < sizeof code; i++) at[i] = code[i];
  *(volatile u32 *)(at + 1) = (u32)(word)mark;
  for (int i = 0; i < 64; i++) buffer[i] = 0;
  say("up too early", call(24, 1, 1, 0));
  buffer[2 + 8] = (u32)(word)at, buffer[2 + 9] = 2, buffer[2 + 10] = 0x11;
  say("initialise without segments", call(24, 0, 1, BUFFER));
  /* Bases, limits, attributes: CS, DS, SS, ES, TR. */
  for (int i = 0; i < 4; i++) buffer[23 + i] = 0xffffffff;
  buffer[27] = 0x67;
  volatile u16 *attributes = (u16 *)(buffer + 28);
  attributes[0] = 0xc9b, attributes[1] = attributes[2] = attributes[3] = 0xc93, attributes[4] = 0x8b;
  say("initialise", call(24, 0, 1, BUFFER));
  say("again", call(24, 0, 1, BUFFER));
  say("is_up", call(24, 3, 1, 0));
  say("up", call(24, 1, 1, 0));
  while (*mark == 0) asm volatile("pause");
  print(" the other vCPU wrote %d", (word)*mark);
  while (call(24, 3, 1, 0)) asm volatile("pause");
  say("it has halted: is_up", call(24, 3, 1, 0));
  say("is_up of nobody", call(24, 3, 2, 0));
}

static void memory(void) {
  wide[0] = LIST, wide[1] = 1, wide[2] = 0, wide[3] = SELF;
  *(volatile u64 *)LIST = MOVING >> 12;
  *(volatile u32 *)MOVING = 0x1234;
  say("current_reservation", (wide[4] = SELF, call(12, 3, BUFFER + 32, 0)));
  say("decrease", call(12, 1, BUFFER, 0));
  print(" nothing there: %x", (word) * (volatile u32 *)MOVING);
  say("current_reservation", call(12, 3, BUFFER + 32, 0));
  say("decrease again", call(12, 1, BUFFER, 0));
  say("populate", call(12, 6, BUFFER, 0));
  print(" empty: %x", (word) * (volatile u32 *)MOVING);
  /* shared_info: system time is known before it is mapped. */
  buffer[0] = SELF, buffer[1] = 0, wide[1] = 0, wide[2] = MOVING >> 12;
  say("shared_info", call(12, 7, BUFFER, 0));
  print(" wall clock %s", ((u32 *)(MOVING + 0xc00))[1] ? "known" : "unknown");
  buffer[1] = 4;
  say("foreign", call(12, 7, BUFFER, 0));
}

int main(void) {
  numbers();
  events();
  set_gate(VECTOR, (word)stubs + VECTOR * 16, KERNEL_CS, 0x8e, 0);
  reset_idt();
  upcalls();
  others();
  memory();
  return 0;
}
