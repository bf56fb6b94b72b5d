/* 32-bit test kernels: tables. */
#include "guest.h"

extern u64 idt[];
int main(void);
void mask_pics(void);

void set_gate(int vector, word handler, u16 selector, u8 type, u8 ist) {
  (void)ist;
  idt[vector] = (handler & 0xffff) | (u64)selector << 16 | (u64)type << 40 | (u64)(handler >> 16) << 48;
}

void reset_idt(void) {
  for (int vector = 0; vector < 256; vector++) {
    int open = vector == 3 || vector == 4 || vector == 5 || vector >= 32;
    set_gate(vector, (word)stubs + 16 * vector, KERNEL_CS, open ? 0xee : 0x8e, 0);
  }
}

void guest_main(void) {
  gdt[TSS_SELECTOR / 8] = descriptor((word)tss, TSS_SIZE - 1, 0x89);
  tss[1] = (word)trap_stack; /* ESP0, SS0 */
  tss[2] = KERNEL_DS;
  tss[25] = 0x680000; /* the I/O bitmap follows */
  for (int i = 26; i < TSS_SIZE / 4; i++) tss[i] = -1;
  reset_idt();
  mask_pics();
  asm volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(gdt_table), "m"(idt_table), "r"(TSS_SELECTOR));
  main();
  print("\nend\n");
}
