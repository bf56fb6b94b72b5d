/* Process-context identifiers and INVPCID (SDM Vol. 3A 4.10.1, 4.10.4; Vol. 2, INVPCID). */
#include "guest.h"

CODE(read_code, "mov (%rsi), %rax");
CODE(write_cr3_code, "mov %rax, %cr3\nmov (%rsi), %rbx");
CODE(write_cr4_code, "mov %rax, %cr4\nmov %cr4, %rbx");
CODE(leave_code, "mov %cr0, %rax\nand $0x7fffffff, %eax\nmov %rax, %cr0");
CODE(invpcid_code, "invpcid (%rsi), %rax");
CODE(read_cr3_code, "mov %cr3, %rax");

#define NO_FLUSH (1ul << 63)
#define PCIDE CR4_PCIDE

/* A second address space: the same but for the window. */
static u64 pml4_b[512] __attribute__((aligned(4096)));
static u64 pdpt_b[512] __attribute__((aligned(4096)));
static u64 pd_b[512] __attribute__((aligned(4096)));
static u64 window_b[512] __attribute__((aligned(4096)));
static word base;

static void look(const char *name, int page) {
  kernel(read_code), in.si = PAGE(page), go("%s", name);
}

static void invalidate(const char *name, word type, word pcid, word address) {
  static word operand[2];
  operand[0] = pcid, operand[1] = address;
  kernel(invpcid_code), in.ax = type, in.si = (word)operand, go("INVPCID %s", name);
}

static void two_spaces(void) {
  for (int i = 0; i < 512; i++) pml4_b[i] = pml4[i], pdpt_b[i] = pdpt[i], pd_b[i] = pd[i];
  pml4_b[0] = (word)pdpt_b | P | W | U;
  pdpt_b[0] = (word)pd_b | P | W | U;
  pd_b[WINDOW >> 21] = (word)window_b | P | W | U;
  *(u64 *)SPARE = 0xaaaa, *(u64 *)(SPARE + 4096) = 0xbbbb, *(u64 *)(SPARE + 8192) = 0xcccc;
  map(0, SPARE, P | W | U);
  window_b[0] = (SPARE + 4096) | P | W | U;
  map(1, SPARE + 8192, P | W | U | G);
  window_b[1] = (SPARE + 8192) | P | W | U | G;
  word a = (word)pml4 | 1, b = (word)pml4_b | 2;
  for (int i = 0; i < 3; i++) {
    write_cr3(i ? a | NO_FLUSH : a), look("space 1", 0);
    write_cr3(i ? b | NO_FLUSH : b), look("space 2", 0);
  }
  kernel(read_cr3_code), go("CR3"), print(" is %x", read_cr3() & 0xfff);
  /* A change that was invalidated must be seen, in the space that it was made in. */
  write_cr3(a | NO_FLUSH);
  window[0] = (SPARE + 8192) | P | W | U, invlpg(PAGE(0)), look("space 1 after INVLPG", 0);
  write_cr3(b | NO_FLUSH), look("space 2 after INVLPG in 1", 0);
  window[0] = SPARE | P | W | U;
  invalidate("of an address in 1", 0, 1, PAGE(0));
  write_cr3(a | NO_FLUSH), look("space 1 after INVPCID of the address", 0);
  window_b[0] = (SPARE + 8192) | P | W | U;
  invalidate("of 2", 1, 2, 0);
  write_cr3(b | NO_FLUSH), look("space 2 after INVPCID of 2", 0);
  window[0] = window_b[0] = (SPARE + 4096) | P | W | U;
  invalidate("of all but global entries", 3, 0, 0);
  write_cr3(a | NO_FLUSH), look("space 1 after INVPCID of all", 0);
  write_cr3(b | NO_FLUSH), look("space 2 after INVPCID of all", 0);
  write_cr4(read_cr4() | CR4_PGE), look("a global page", 1);
  window[1] = window_b[1] = SPARE | P | W | U | G;
  invalidate("of all, global ones, too", 2, 0, 0);
  look("a global page after INVPCID of all", 1);
  write_cr3(a | NO_FLUSH), look("a global page in the other space", 1);
  window_b[0] = SPARE | P | W | U;
  write_cr3(b), look("space 2 after MOV CR3", 0);
  write_cr3(base);
}

static void refused(void) {
  invalidate("of type 4", 4, 0, 0);
  invalidate("of type -1", -1ul, 0, 0);
  invalidate("of pcid 1000", 0, 0x1000, 0);
  invalidate("of an address that is not canonical", 0, 0, 1ul << 47);
  invalidate("of all, with such an address", 2, 0, 1ul << 47);
  kernel(invpcid_code), in.si = 0x30000000, go("INVPCID, operand not mapped");
  kernel(invpcid_code), in.si = 1ul << 47, go("INVPCID, operand not canonical");
  user(invpcid_code), in.si = (word)invpcid_code, go("INVPCID in ring 3");
  kernel(write_cr3_code), in.si = PAGE(0), in.ax = base | 1ul << 62, go("CR3 with bit 62");
  kernel(write_cr3_code), in.si = PAGE(0), in.ax = base | 1ul << 40, go("CR3 with bit 28");
  kernel(leave_code), go("leaving long mode with PCIDE");
}

int main(void) {
  u32 c;
  asm volatile("cpuid" : "=c"(c) : "a"(1) : "ebx", "edx");
  if (!(c >> 17 & 1)) {
    print("no PCID");
    return 0;
  }
  base = read_cr3();
  invalidate("without PCIDE, of 0", 1, 0, 0);
  invalidate("without PCIDE, of 1", 1, 1, 0);
  write_cr3(base | 8);
  kernel(write_cr4_code), in.ax = read_cr4() | PCIDE, go("PCIDE with low bits in CR3");
  write_cr3(base);
  kernel(write_cr4_code), in.ax = read_cr4() | PCIDE, go("PCIDE");
  two_spaces();
  refused();
  kernel(write_cr4_code), in.ax = read_cr4() & ~(word)PCIDE, go("without PCIDE");
  kernel(write_cr3_code), in.si = PAGE(0), in.ax = base | NO_FLUSH, go("CR3 with bit 63, without PCIDE");
  return 0;
}
