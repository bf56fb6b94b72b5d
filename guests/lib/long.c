/* 64-bit test kernels: tables and pages. */
#include "guest.h"

extern u64 idt[];
int main(void);
void mask_pics(void);

#define TSS_LIMIT (TSS_SIZE - 1)

void set_gate(int vector, word handler, u16 selector, u8 type, u8 ist) {
  idt[2 * vector] = (handler & 0xffff) | (u64)selector << 16 | (u64)ist << 32 | (u64)type << 40 | (handler >> 16 & 0xffff) << 48;
  idt[2 * vector + 1] = handler >> 32;
}

void reset_idt(void) {
  for (int vector = 0; vector < 256; vector++) {
    int open = vector == 3 || vector == 4 || vector >= 32;
    set_gate(vector, (word)stubs + 16 * vector, KERNEL_CS, open ? 0xee : 0x8e, 1);
  }
}

void map(int page, word frame, word flags) {
  window[page] = frame | flags;
  invlpg(PAGE(page));
}

void guest_main(void) {
  word base = (word)tss;
  gdt[TSS_SELECTOR / 8] = descriptor(base, TSS_LIMIT, 0x89);
  gdt[TSS_SELECTOR / 8 + 1] = base >> 32;
  *(u64 *)&tss[1] = (word)trap_stack; /* RSP0 */
  *(u64 *)&tss[9] = (word)trap_stack; /* IST1 */
  tss[25] = 0x680000;                 /* the I/O bitmap follows */
  for (int i = 26; i < TSS_LIMIT / 4; i++) tss[i] = -1;
  reset_idt();
  mask_pics();
  asm volatile("lgdt %0; lidt %1; ltr %w2" : : "m"(gdt_table), "m"(idt_table), "r"(TSS_SELECTOR));
  for (word page = (word)code_start; page < (word)code_end; page += 4096) low_tables[page / 4096] |= U;
  low_tables[((word)user_stack - 1) / 4096] |= U;
  write_cr3(read_cr3());
  main();
  print("\nend\n");
}
