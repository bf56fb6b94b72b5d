/*
 * Every hypercall that Xen declares for a PVH guest, with good input and each kind of bad one (lib/xen-calls.h), and what
 * only such a guest has: the hypercall page, pages that it maps by number, a second vCPU, waiting for an interrupt.
 */
#include "guest.h"
#include "xen-calls.h"
#include "xen-rings.h"

CODE(cpuid_code, "cpuid");
CODE(wrmsr_code, "wrmsr");
CODE(block_code, "vmcall\nnop\ncli");
CODE(user_call, "vmcall");

#define INFO (SPARE + 0x2000)
#define TABLE (SPARE + 0x5000)
#define HOLE (SPARE + 0x6000)
#define VECTOR 0x80

long xen_call(word number, word a, word b, word c, word d) {
  register word r10 asm("r10") = d;
  asm volatile("vmcall" : "+a"(number), "+D"(a), "+S"(b), "+d"(c), "+r"(r10) : : "memory");
  return number;
}

/* Physical addresses are linear ones, and frames are numbered by them. */
word frame_of(const volatile void *address) { return (word)address >> 12; }

unsigned char *grant_table(void) {
  OP("XENMEM_add_to_physmap", 12, 7, HALVES(SELF, 0), 1, QUAD(0), QUAD(TABLE >> 12));
  return (unsigned char *)TABLE;
}

static struct toolstack_ring ring_of(unsigned int page, unsigned int port) {
  static int used;
  struct toolstack_ring ring;
  PUT(SELF, page), xen_call(34, 1, (word)words, 0, 0);
  map(used, (word)words[2] << 12, P | W);
  ring.page = (volatile unsigned char *)PAGE(used++);
  PUT(SELF, port), xen_call(34, 1, (word)words, 0, 0);
  ring.port = words[2];
  return ring;
}
struct toolstack_ring store_ring(void) { return ring_of(1, 2); }
struct toolstack_ring console_ring(void) { return ring_of(17, 18); }

static void processor(void) {
  for (word leaf = 0; leaf < 6; leaf++) kernel(cpuid_code), in.ax = 0x40000000 + leaf, go("CPUID %x", 0x40000000 + leaf);
  print("\n");
  kernel(wrmsr_code), in.cx = 0x40000000, in.ax = HOLE, go("hypercall page");
  kernel(wrmsr_code), in.cx = 0x40000000, in.ax = HOLE | 1, go("its second page");
  kernel(wrmsr_code), in.cx = 0x40000000, in.ax = 0, in.dx = 1 << 20, go("nowhere");
  print("\nread as %x\n", (word)rdmsr(0x40000000));
  user(user_call), in.ax = 17, go("VMCALL, ring 3"), print("\n");
}

static void pages(void) {
  static const char remove[] = "XENMEM_remove_from_physmap";
  *(volatile u64 *)moving_page = 0x1234;
  unsigned long frame = frame_of(moving_page);
  *(volatile u64 *)other_words = frame;
  OP("XENMEM_decrease_reservation", 12, 1, QUAD(other_words), QUAD(1), 0, 0, SELF);
  OP("XENMEM_decrease_reservation", 12, 1, QUAD(other_words), QUAD(1), 0, 0, SELF);
  OP(remove, 12, 15, SELF, 0, QUAD(frame));
  OP("XENMEM_populate_physmap", 12, 6, QUAD(other_words), QUAD(1), 0, 0, SELF);
  OP("XENMEM_populate_physmap", 12, 6, QUAD(other_words), QUAD(1), 0, 0, SELF);
  /* Its place is another one for a while. */
  OP("XENMEM_add_to_physmap", 12, 7, HALVES(SELF, 0), 2, QUAD(frame), QUAD(HOLE >> 12));
  OP("XENMEM_add_to_physmap", 12, 7, HALVES(SELF, 1), 3, QUAD(HOLE >> 12), QUAD(frame));
  OP("XENMEM_add_to_physmap", 12, 7, HALVES(SELF, 0), 0, QUAD(0), QUAD(INFO >> 12));
  OP("XENMEM_add_to_physmap", 12, 7, HALVES(SELF, 0), 0, QUAD(1), QUAD(INFO >> 12));
  OP("XENMEM_add_to_physmap", 12, 7, HALVES(SELF, 0), 1, QUAD(999), QUAD(TABLE >> 12));
  OP("XENMEM_add_to_physmap", 12, 7, HALVES(SELF, 0), 2, QUAD(NO_FRAME), QUAD(TABLE >> 12));
  OP(remove, 12, 15, SELF, 0, QUAD(INFO >> 12));
  OP(remove, 12, 15, SELF, 0, QUAD(INFO >> 12));
  CALL("HVMOP_flush_tlbs", 34, 5, 0, 0, 0);
  CALL("HVMOP_flush_tlbs", 34, 5, words, 0, 0);
  CALL("mmuext_op", 26, words, 1, 0, SELF);
  CALL("mmuext_op", 26, words, 1, 0, DOM0);
  CALL("mmuext_op", 26, words, 1, 0, NOBODY);
}

/* A vCPU in 32 bits without paging: it writes to `mark` and halts for ever. */
static void second(void) {
  static volatile u32 mark;
  static u8 code[] = {0xbf, 0, 0, 0, 0, 0xc7, 0x07, 7, 0, 0, 0, 0xf4};
  *(volatile u32 *)(code + 1) = (u32)(word)&mark;
  u32 state[31] = {0};
  state[2 + 8] = (u32)(word)code, state[2 + 9] = 2, state[2 + 10] = 0x11;
  for (int i = 0; i < 4; i++) state[23 + i] = 0xffffffff;
  state[27] = 0x67;
  state[28] = HALVES(0xc9b, 0xc93), state[29] = HALVES(0xc93, 0xc93), state[30] = 0x8b;
  put(31, state);
  CALL("VCPUOP_initialise", 24, 0, 1, words, 0);
  CALL("VCPUOP_initialise", 24, 0, 1, words, 0);
  CALL("VCPUOP_up", 24, 1, 1, 0, 0);
  while (mark == 0) asm volatile("pause");
  print("it wrote %x\n", (word)mark);
  while (xen_call(24, 3, 1, 0, 0)) asm volatile("pause");
  CALL("VCPUOP_up", 24, 1, 1, 0, 0);
  CALL("VCPUOP_down", 24, 2, 1, 0, 0);
}

/* VIRQ_TIMER ends the wait, as an interrupt. */
static void waiting(void) {
  set_gate(VECTOR, (word)stubs + VECTOR * 16, KERNEL_CS, 0x8e, 0);
  PUT(0, 0);
  xen_call(32, 1, (word)words, 0, 0);
  OP("HVMOP_set_param", 34, 0, SELF, 0, QUAD(2ul << 56 | VECTOR));
  PUT(QUAD(1), 0);
  kernel(block_code), in.ax = 29, in.di = 1;
  xen_call(24, 8, 0, (word)words, 0);
  go("SCHEDOP_block");
  print("\n");
}

int main(void) {
  reset_idt();
  processor();
  ask_version();
  ask_memory();
  pages();
  ask_vcpus();
  second();
  ask_scheduler();
  ask_events();
  waiting();
  ask_rings();
  ask_grants();
  ask_hvm();
  ask_refused();
  ask_multicalls();
  ask_all_ports();
  OP("SCHEDOP_shutdown", 29, 2, 0);
  return 0;
}
