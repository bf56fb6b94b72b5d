/* Interrupt and exception delivery in long mode, and IRET (SDM Vol. 3A chapter 6; Vol. 2, INT n and IRET). */
#include "guest.h"

CODE(nothing, "");
CODE(int_13, "int $13");
CODE(int_60, "int $0x60");
CODE(int_ff, "int $0xff");
CODE(int_3, "int3");
CODE(int_1, ".byte 0xf1");
CODE(undefined, "ud2");
CODE(divide, "xor %edx, %edx\nxor %ecx, %ecx\ndiv %ecx");
CODE(general, "mov %ecx, %ds");
CODE(page_fault, "mov 0x20000000, %eax");
CODE(iret_q, "mov %rsi, %rsp\niretq");
CODE(iret_d, "mov %rsi, %rsp\niret");
CODE(iret_w, "mov %rsi, %rsp\niretw");
CODE(stay, "mov %ds, %eax\nmov %es, %ebx");

#define VECTOR 0x60
/* Selectors for tests. */
#define SELECTOR(i) (FREE + 8 * (i))
#define STACK_PAGE 8

static void set_descriptor(int i, u16 attributes) { gdt[FREE / 8 + i] = descriptor(0, 0xfffff, attributes); }

static void software(void) {
  user(int_60), go("INT 60");
  kernel(int_60), go("INT 60 in ring 0");
  user(int_13), go("INT 13 of a gate for ring 0");
  user(int_1), go("INT1");
  user(int_3), go("INT3");
  set_gate(3, (word)stubs + 48, KERNEL_CS, 0x8e, 1);
  user(int_3), go("INT3 of a gate for ring 0");
  reset_idt();

  static const u8 types[] = {0x6e, 0xe6, 0xec, 0xe5, 0xfe, 0xe0, 0xef, 0xee, 0xe7};
  for (unsigned i = 0; i < sizeof types; i++) {
    set_gate(VECTOR, (word)stubs + 16 * VECTOR, KERNEL_CS, types[i], 1);
    show = SHOW_HANDLER;
    user(int_60);
    in.flags |= FLAG_IF | FLAG_NT | FLAG_AC | FLAG_ID;
    go("gate of type %x", (word)types[i]);
    show = 0;
  }
  static const u16 selectors[] = {0, 3, KERNEL_DS, 0x18, USER_CS64, USER_CS32, KERNEL_CS + 3, KERNEL_CS + 4, 0xfff8, TSS_SELECTOR, 0xc8};
  for (unsigned i = 0; i < sizeof selectors / 2; i++)
    for (int ring = 0; ring <= 3; ring += 3) {
      set_gate(VECTOR, (word)stubs + 16 * VECTOR, selectors[i], 0xee, 1);
      if (ring) user(int_60);
      else kernel(int_60);
      go("gate to selector %x, ring %d", (word)selectors[i], ring);
    }
  static const u16 codes[] = {0xa1b, 0xe9b, 0xa9f, 0xaff, 0xafb, 0xa99, 0xa9a};
  for (unsigned i = 0; i < sizeof codes / 2; i++)
    for (int ring = 0; ring <= 3; ring += 3) {
      set_descriptor(0, codes[i]);
      set_gate(VECTOR, (word)stubs + 16 * VECTOR, SELECTOR(0), 0xee, 1);
      if (ring) user(int_60);
      else kernel(int_60);
      go("gate to code segment %x, ring %d", (word)codes[i], ring);
      print(" descriptor %x", gdt[FREE / 8]);
    }
  reset_idt();
  set_gate(VECTOR, 0x800000000000, KERNEL_CS, 0xee, 1);
  user(int_60), go("gate to an address that is not canonical");
  idt_table.limit = 0xff * 16 + 14;
  asm volatile("lidt %0" : : "m"(idt_table));
  user(int_ff), go("INT beyond the limit");
  idt_table.limit = 4095;
  asm volatile("lidt %0" : : "m"(idt_table));
  user(int_ff), go("INT ff");
}

/* The second exception during delivery of the first. */
static void nested(void) {
  static const struct {
    const char *name;
    const u8 *code;
    u8 vector;
  } firsts[] = {{"#DE", divide, 0}, {"#DB", int_1, 1}, {"#BP", int_3, 3}, {"#UD", undefined, 6}, {"#GP", general, 13}, {"#PF", page_fault, 14}, {"INT", int_60, VECTOR}};
  for (unsigned i = 0; i < sizeof firsts / sizeof *firsts; i++) {
    word handler = (word)stubs + 16 * firsts[i].vector;
    for (int how = 0; how < 7; how++) {
      static const char *const hows[] = {"absent gate", "gate of a wrong type", "null selector", "absent code segment", "stack not mapped", "stack not canonical", "IST beyond the TSS"};
      switch (how) {
      case 0:
        set_gate(firsts[i].vector, handler, KERNEL_CS, 0x6e, 1);
        break;
      case 1:
        set_gate(firsts[i].vector, handler, KERNEL_CS, 0xec, 1);
        break;
      case 2:
        set_gate(firsts[i].vector, handler, 0, 0xee, 1);
        break;
      case 3:
        set_descriptor(0, 0xa1b);
        set_gate(firsts[i].vector, handler, SELECTOR(0), 0xee, 1);
        break;
      case 4:
      case 5:
        *(u64 *)&tss[11] = how == 4 ? 0x30000000 : 0x8000000000000000;
        set_gate(firsts[i].vector, handler, KERNEL_CS, 0xee, 2);
        break;
      case 6:
        /* A TSS that ends before IST3. */
        gdt[TSS_SELECTOR / 8] = descriptor((word)tss, 0x3a, 0x89);
        asm volatile("ltr %w0" : : "r"(TSS_SELECTOR));
        set_gate(firsts[i].vector, handler, KERNEL_CS, 0xee, 3);
      }
      user(firsts[i].code);
      in.cx = 0x48;
      set_descriptor(0, 0x31b);
      if (how == 3) set_descriptor(0, 0xa1b);
      go("%s, %s", firsts[i].name, hows[how]);
      if (how == 6) {
        gdt[TSS_SELECTOR / 8] = descriptor((word)tss, 0x20ff, 0x89);
        asm volatile("ltr %w0" : : "r"(TSS_SELECTOR));
      }
      reset_idt();
    }
  }
}

static void stacks(void) {
  show = SHOW_HANDLER | SHOW_RF | SHOW_SEGMENTS;
  /* No IST: the same stack, aligned, in ring 0; RSP0 from ring 3. */
  for (word misaligned = 0; misaligned < 16; misaligned += 5) {
    set_gate(VECTOR, (word)stubs + 16 * VECTOR, KERNEL_CS, 0xee, 0);
    kernel(int_60);
    in.sp -= misaligned;
    go("ring 0, stack %x", misaligned);
    *(u64 *)&tss[1] = (word)trap_stack2 - misaligned;
    user(int_60);
    go("ring 3, RSP0 %x", misaligned);
    *(u64 *)&tss[15] = (word)trap_stack2 - misaligned; /* IST4 */
    set_gate(VECTOR, (word)stubs + 16 * VECTOR, KERNEL_CS, 0xef, 4);
    kernel(int_60);
    in.flags |= FLAG_NT | FLAG_AC;
    go("ring 0, IST %x", misaligned);
  }
  for (int vector = 0; vector < 32; vector++) set_gate(vector, (word)stubs + 16 * vector, KERNEL_CS, 0x8e, 4);
  kernel(undefined), go("RF with #UD");
  user(page_fault), go("RF with #PF");
  user(int_1), go("RF with INT1");
  user(divide), go("RF with #DE");
  show = 0;
  reset_idt();
  *(u64 *)&tss[1] = (word)trap_stack;
}

static void return_to(const char *kind, word number, const char *name, const u8 *code, int ring, word ip, word cs, word flags, word sp, word ss) {
  word *frame = (word *)PAGE(STACK_PAGE) + 64;
  if (code == iret_q) {
    frame[0] = ip, frame[1] = cs, frame[2] = flags, frame[3] = sp, frame[4] = ss;
  } else if (code == iret_d) {
    u32 *frame32 = (u32 *)frame;
    frame32[0] = ip, frame32[1] = cs, frame32[2] = flags, frame32[3] = sp, frame32[4] = ss;
  } else {
    u16 *frame16 = (u16 *)frame;
    frame16[0] = ip, frame16[1] = cs, frame16[2] = flags, frame16[3] = sp, frame16[4] = ss;
  }
  if (ring) user(code);
  else kernel(code);
  in.si = (word)frame;
  if (cs & 0xffff0000) in.flags |= FLAG_NT;
  if (*kind) go("%s %x %s", kind, number, name);
  else go("%s", name);
}

static void returns(void) {
  map(STACK_PAGE, SPARE, P | W | U);
  word ip = (word)stay, sp = (word)user_stack;
  show = SHOW_SEGMENTS;
  return_to("", 0, "IRET to ring 3", iret_q, 0, ip, USER_CS64, 2, sp, USER_DS);
  return_to("", 0, "IRET to ring 0", iret_q, 0, ip, KERNEL_CS, 2, sp, KERNEL_DS);
  return_to("", 0, "IRET to ring 0, SS null", iret_q, 0, ip, KERNEL_CS, 2, sp, 0);
  return_to("", 0, "IRET to ring 3, SS null", iret_q, 0, ip, USER_CS64, 2, sp, 3);
  return_to("", 0, "IRET to ring 3 of 32 bits", iret_q, 0, ip, USER_CS32, 2, sp | 1ul << 40, USER_DS);
  return_to("", 0, "IRET to ring 3 of 32 bits, SS null", iret_q, 0, ip, USER_CS32, 2, sp, 3);
  return_to("", 0, "IRET to ring 0 of 32 bits", iret_q, 0, ip, 0x18, 2, sp, KERNEL_DS);
  return_to("", 0, "IRET to ring 0 of 32 bits, SS null", iret_q, 0, ip, 0x18, 2, sp, 0);
  return_to("", 0, "IRET, high RIP, 32 bits", iret_q, 0, ip | 1ul << 40, USER_CS32, 2, sp, USER_DS);
  return_to("", 0, "IRET from ring 3", iret_q, 3, ip, USER_CS64, 2, sp, USER_DS);
  return_to("", 0, "IRET from ring 3 to 32 bits", iret_q, 3, ip, USER_CS32, 2, sp, USER_DS);
  show = 0;
  return_to("", 0, "IRET from ring 3 to ring 0", iret_q, 3, ip, KERNEL_CS, 2, sp, KERNEL_DS);
  return_to("", 0, "IRET from ring 3 to ring 0, RPL 3", iret_q, 3, ip, KERNEL_CS + 3, 2, sp, KERNEL_DS);
  return_to("", 0, "IRET, CS null", iret_q, 0, ip, 0, 2, sp, USER_DS);
  return_to("", 0, "IRET, CS null with RPL 3", iret_q, 0, ip, 3, 2, sp, USER_DS);
  return_to("", 0, "IRET, CS beyond the limit", iret_q, 0, ip, 0xfffb, 2, sp, USER_DS);
  return_to("", 0, "IRET, CS in an LDT", iret_q, 0, ip, USER_CS64 | 4, 2, sp, USER_DS);
  return_to("", 0, "IRET, CS a data segment", iret_q, 0, ip, USER_DS, 2, sp, USER_DS);
  return_to("", 0, "IRET, CS a TSS", iret_q, 0, ip, TSS_SELECTOR + 3, 2, sp, USER_DS);
  return_to("", 0, "IRET, RPL above DPL", iret_q, 0, ip, KERNEL_CS + 3, 2, sp, USER_DS);
  return_to("", 0, "IRET, RPL below DPL", iret_q, 0, ip, USER_CS64 - 3, 2, sp, USER_DS);
  static const u16 codes[] = {0xa7b, 0xefb, 0xaff, 0xa9f, 0xadf, 0xafa, 0xcfb, 0x4fb, 0x07b};
  for (unsigned i = 0; i < sizeof codes / 2; i++) {
    set_descriptor(0, codes[i]);
    return_to("code segment", (word)codes[i], "to ring 3", iret_q, 0, ip, SELECTOR(0) + 3, 2, sp, USER_DS);
    print(" descriptor %x", gdt[FREE / 8]);
  }
  static const u16 datas[] = {0xc73, 0xcf1, 0xcf7, 0xc93, 0xcf2, 0x0f3, 0xcfb, 0xc89};
  for (unsigned i = 0; i < sizeof datas / 2; i++) {
    set_descriptor(0, datas[i]);
    return_to("stack segment", (word)datas[i], "to ring 3", iret_q, 0, ip, USER_CS64, 2, sp, SELECTOR(0) + 3);
    print(" descriptor %x", gdt[FREE / 8]);
    return_to("stack segment", (word)datas[i], "to ring 0", iret_q, 0, ip, KERNEL_CS, 2, sp, SELECTOR(0));
  }
  return_to("", 0, "IRET, SS with RPL 0 to ring 3", iret_q, 0, ip, USER_CS64, 2, sp, USER_DS - 3);
  return_to("", 0, "IRET, SS beyond the limit", iret_q, 0, ip, USER_CS64, 2, sp, 0xfffb);
  return_to("", 0, "IRET, RIP not canonical", iret_q, 0, 1ul << 47, USER_CS64, 2, sp, USER_DS);
  return_to("", 0, "IRET, RIP not canonical, ring 0", iret_q, 0, 1ul << 47, KERNEL_CS, 2, sp, USER_DS - 3);
  return_to("", 0, "IRET, RSP not canonical", iret_q, 0, ip, USER_CS64, 2, 1ul << 47, USER_DS);
  return_to("", 0, "IRET with NT", iret_q, 0, ip, USER_CS64 | 0x10000, 2, sp, USER_DS);
  return_to("", 0, "IRET, selectors with high bits", iret_q, 0, ip, USER_CS64 | 1ul << 40, 2, sp, USER_DS | 1ul << 40);
  static const word flags[] = {0, 0x247ed5, 0x3000, 0x200, 0x4000, 0x40000, 0x10000, 0x400, 0x100, 0x8d5, 0x20000};
  for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
    return_to("flags", flags[i], "to ring 3", iret_q, 0, ip, USER_CS64, flags[i], sp, USER_DS);
    return_to("flags", flags[i], "from ring 3", iret_q, 3, ip, USER_CS64, flags[i], sp, USER_DS);
    return_to("flags", flags[i], "to ring 0, 32 bits", iret_d, 0, ip, KERNEL_CS, flags[i], sp, KERNEL_DS);
    return_to("flags", flags[i], "from ring 3, 16 bits", iret_w, 3, ip, USER_CS64, flags[i], sp, USER_DS);
  }
  return_to("", 0, "IRETD to ring 3", iret_d, 0, ip, USER_CS64, 2, sp, USER_DS);
  return_to("", 0, "IRETW to ring 3", iret_w, 0, ip, USER_CS64, 2, sp, USER_DS);
  kernel(iret_q), in.si = 1ul << 47, go("IRET from a stack that is not canonical");
  kernel(iret_q), in.si = 0x30000000, go("IRET from a stack that is not mapped");
  user(iret_q), in.si = 0x30000000, go("IRET from a stack that is not mapped, ring 3");
  user(iret_q), in.si = 0x20000, go("IRET from a supervisor's stack, ring 3");
  map(STACK_PAGE + 1, SPARE + 4096, 0);
  kernel(iret_q), in.si = PAGE(STACK_PAGE + 1) - 16, go("IRET from a stack across pages");
}

static void with_smap(void) {
  word *frame = (word *)PAGE(STACK_PAGE);
  frame[0] = (word)stay, frame[1] = USER_CS64, frame[2] = 2, frame[3] = (word)user_stack, frame[4] = USER_DS;
  write_cr4(read_cr4() | CR4_SMAP);
  user(iret_q), in.si = PAGE(STACK_PAGE), go("SMAP, IRET in ring 3");
  kernel(iret_q), in.si = PAGE(STACK_PAGE), go("SMAP, IRET in ring 0 from a user page");
  kernel(iret_q), in.si = PAGE(STACK_PAGE), in.flags |= FLAG_AC, go("SMAP, the same with AC");
  write_cr4(read_cr4() & ~CR4_SMAP);
  /* A table in a user page: AC does not help implicit accesses of the supervisor. */
  u64 *local = (u64 *)PAGE(STACK_PAGE);
  local[1] = descriptor(0, 0xfffff, 0xcf3);
  gdt[FREE / 8] = descriptor((u32)PAGE(STACK_PAGE), 0xfff, 0x82);
  gdt[FREE / 8 + 1] = 0;
  asm volatile("lldt %w0" : : "r"(FREE));
  for (int smap = 0; smap < 2; smap++) {
    if (smap) write_cr4(read_cr4() | CR4_SMAP);
    kernel(general), in.cx = 12, go("LDT in a user page, SMAP %d", smap);
    kernel(general), in.cx = 12, in.flags |= FLAG_AC, go("LDT in a user page, SMAP %d, AC", smap);
    user(general), in.cx = 15, go("LDT in a user page, SMAP %d, ring 3", smap);
  }
  write_cr4(read_cr4() & ~CR4_SMAP);
  asm volatile("lldt %w0" : : "r"(0));
}

int main(void) {
  software();
  nested();
  stacks();
  returns();
  with_smap();
  user(nothing), go("nothing");
  return 0;
}
