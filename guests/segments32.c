/* Segmentation in 32-bit protected mode: limits, types, gates, inner and outer levels (SDM Vol. 3A chapters 5, 6). */
#include "guest.h"

CODE(read_ds, "mov %ecx, %ds\nmov (%esi), %al");
CODE(read_ds_4, "mov %ecx, %ds\nmov (%esi), %eax");
CODE(write_ds, "mov %ecx, %ds\nmov %al, (%esi)");
CODE(write_ds_4, "mov %ecx, %ds\nmov %eax, (%esi)");
CODE(read_cs, "mov %cs:(%esi), %eax");
CODE(write_cs, "mov %eax, %cs:(%esi)");
CODE(read_ss, "mov %ecx, %ss\nmov %ss:(%esi), %eax");
CODE(write_ss, "mov %ecx, %ss\nmov %eax, %ss:(%esi)");
CODE(push_ss, "mov %ecx, %ss\nmov %esi, %esp\npush %eax");
CODE(pop_ss, "mov %ecx, %ss\nmov %esi, %esp\npop %eax");
CODE(base_ebp, "mov %ecx, %ss\nmov %esi, %ebp\nmov (%ebp), %eax");
CODE(string_es, "mov %ecx, %es\nmov %esi, %edi\nstosl");
CODE(rep_string_es, "mov %ecx, %es\nlea -16(%esi), %edi\nmov $8, %ecx\nrep stosl");
CODE(read_fs, "mov %ecx, %fs\nmov %fs:(%esi), %eax");
CODE(pusha_code, "mov %ecx, %ss\nmov %esi, %esp\npusha");
CODE(popa_code, "mov %ecx, %ss\nmov %esi, %esp\npopa");
CODE(enter_code, "mov %ecx, %ss\nmov %esi, %esp\nenter $4, $0");
CODE(call_code, "mov %ecx, %ss\nmov %esi, %esp\ncall 1f\n1: nop");
CODE(far_jump, "ljmp *(%esi)");
CODE(far_jump_16, "ljmpw *(%esi)");
CODE(far_call, "lcall *(%esi)");
CODE(far_call_16, "lcallw *(%esi)");
CODE(far_return, "mov %esi, %esp\nlret");
CODE(far_return_n, "mov %esi, %esp\nlret $8");
CODE(far_return_16, "mov %esi, %esp\nlretw");
CODE(iret_code, "mov %esi, %esp\niret");
CODE(iret_16, "mov %esi, %esp\niretw");
CODE(target, "mov %cs, %eax\nmov %ss, %ebx\nmov %ds, %ecx\nmov %es, %edx");
CODE(int_60, "int $0x60");
CODE(into_code, "mov $0x7fffffff, %eax\nadd $1, %eax\ninto");
CODE(bound_code, "bound %eax, (%esi)");
CODE(arpl_code, "arpl %ax, %cx\nsetz %dl");
CODE(les_code, "les (%esi), %eax\nmov %es, %ebx");
CODE(lds_null, "lds (%esi), %eax\nmov (%eax), %ebx");
CODE(pop_ds, "mov %esi, %esp\npop %ds\nmov %ds, %eax");
CODE(pop_ss_code, "mov %esi, %esp\npop %ss\nmov %ss, %eax");
CODE(push_es_16, "pushw %es\npop %ax");
CODE(sysenter_code, "sysenter");
CODE(sysexit_code, "sysexit");
CODE(syscall_code, "syscall");
CODE(lahf_code, "lldt %cx\nmov $7, %eax\nmov %eax, %fs");
CODE(jump_end, "jmp *%esi");
CODE(use_null, "xor %ecx, %ecx\nmov %ecx, %gs\nmov %gs:0, %eax");
CODE(undefined, "ud2");
CODE16(code_16, "mov $0x1234, %ax\npush %ax\npop %bx\nmov %sp, %cx\nmov %ss, %dx");
CODE16(stack_16, "push %eax\npop %bx\ncall 1f\n1: mov %esp, %ecx");

#define SELECTOR(i) (FREE + 8 * (i))
static word data[1024] __attribute__((aligned(4096)));

static void start(const u8 *code, int ring) {
  if (ring == 3) user(code);
  else kernel(code);
  in.si = (word)data;
}

/* Offsets around the limit, in segments of each kind. */
static void limits(void) {
  static const struct {
    const char *name;
    u32 limit;
    u16 type;
    u32 edges[3];
  } segments[] = {
      {"up, bytes", 0xfff, 0x4f3, {0xffc, 0xffd, 0x1000}}, {"up, pages", 0, 0xcf3, {0xffc, 0xffe, 0x1000}},
      {"down, 32 bits", 0xfff, 0x4f7, {0xfff, 0x1000, 0xffffffff}}, {"down, 16 bits", 0xfff, 0x0f7, {0xfff, 0x1000, 0xfffd}},
      {"down, pages", 1, 0xcf7, {0x1fff, 0x2000, 0xfffffffc}}, {"up, all", 0xfffff, 0xcf3, {0, 0xfffffffd, 0xfffffffc}},
      {"read-only", 0xfff, 0x4f1, {0, 0xffc, 0xffd}}, {"code", 0xfff, 0x4fb, {0, 0xffc, 0xffd}},
      {"execute-only", 0xfff, 0x4f9, {0, 0, 0}}, {"up, 16 bits", 0xfff, 0x0f3, {0xffc, 0xffd, 2}},
  };
  static const struct {
    const char *name;
    const u8 *code;
  } codes[] = {{"read 1", read_ds}, {"read 4", read_ds_4}, {"write 1", write_ds}, {"write 4", write_ds_4}, {"SS read", read_ss}, {"SS write", write_ss}, {"PUSH", push_ss}, {"POP", pop_ss}, {"EBP", base_ebp}, {"STOS", string_es}, {"REP STOS", rep_string_es}, {"FS read", read_fs}, {"PUSHA", pusha_code}, {"POPA", popa_code}, {"ENTER", enter_code}, {"CALL", call_code}};
  for (unsigned i = 0; i < sizeof segments / sizeof *segments; i++)
    for (unsigned code = 0; code < sizeof codes / sizeof *codes; code++)
      for (int edge = 0; edge < 3; edge++) {
        /* Based so that the edges are in `data`, for expand-down segments wherever they lie. */
        u32 base = (u32)data;
        if (segments[i].edges[edge] >= 0x1000) base -= segments[i].edges[edge] & ~0xfffu;
        for (int j = 0; j < 1024; j++) data[j] = 0x01010101 * (j & 0xff);
        gdt[SELECTOR(0) / 8] = descriptor(base, segments[i].limit, segments[i].type);
        start(codes[code].code, 3);
        in.cx = SELECTOR(0) + 3;
        in.si = segments[i].edges[edge];
        go("%s, %s at %x", segments[i].name, codes[code].name, (word)segments[i].edges[edge]);
      }
  start(read_cs, 3), go("CS read");
  start(write_cs, 3), go("CS write");
  start(use_null, 3), go("GS null used");
  start(use_null, 0), go("GS null used, ring 0");
  gdt[SELECTOR(0) / 8] = descriptor(0, ((u32)code_end >> 12) - 1, 0xcfb);
  start(jump_end, 3), in.cs = SELECTOR(0) + 3, in.si = (word)code_end, go("JMP to the limit");
  start(jump_end, 3), in.cs = SELECTOR(0) + 3, in.si = 0xffffffff, go("JMP to the end");
  gdt[SELECTOR(0) / 8] = descriptor((u32)(word)int_60, 1, 0x4fb);
  start((u8 *)0, 3), in.cs = SELECTOR(0) + 3, go("an instruction that ends at the limit");
  gdt[SELECTOR(0) / 8] = descriptor((u32)(word)int_60, 0, 0x4fb);
  start((u8 *)0, 3), in.cs = SELECTOR(0) + 3, go("an instruction that ends beyond the limit");
}

static void loads(void) {
  static const struct {
    const char *name;
    const u8 *code;
  } codes[] = {{"DS", read_ds}, {"SS", read_ss}};
  for (word type = 0; type < 32; type++)
    for (int present = 0; present < 2; present++)
      for (int code = 0; code < 2; code++)
        for (int ring = 0; ring <= 3; ring += 3) {
          gdt[SELECTOR(0) / 8] = descriptor(0, 0xfffff, 0xc60 | present << 7 | type);
          start(codes[code].code, ring);
          in.cx = SELECTOR(0) + 3;
          go("%s with type %x, present %d, ring %d", codes[code].name, type, present, ring);
        }
  *(u64 *)data = 0x0028000012345678ull | 3ull << 32;
  start(les_code, 3), go("LES");
  *(u64 *)data = 0;
  start(lds_null, 3), go("LDS null, used");
  data[0] = 0xffff002b;
  start(pop_ds, 3), go("POP DS");
  start(pop_ss_code, 3), go("POP SS");
  data[0] = 0;
  start(pop_ss_code, 3), go("POP SS null");
  start(push_es_16, 3), go("PUSH ES of 16 bits");
  for (word i = 0; i < 4; i++) start(arpl_code, 3), in.cx = 0x28 + i, in.ax = 0x12 + (i & 1), go("ARPL %x", i);
  static u64 local[2];
  local[0] = descriptor(0, 0xfffff, 0xc93);
  gdt[SELECTOR(0) / 8] = descriptor((u32)(word)local, 15, 0x82);
  start(lahf_code, 0), in.cx = SELECTOR(0), go("FS from the LDT");
  asm volatile("lldt %w0" : : "r"(0));
}

static u64 call_gate(word offset, u16 selector, u8 type, u8 count) {
  return (offset & 0xffff) | (u64)selector << 16 | (u64)(count & 31) << 32 | (u64)type << 40 | (u64)(offset >> 16) << 48;
}

static void pointer(word offset, u16 selector, int narrow) {
  if (narrow) *(u16 *)data = offset, ((u16 *)data)[1] = selector;
  else data[0] = offset, *(u16 *)&data[1] = selector;
}

static void show_stack(word count) {
  if (out.cs & 3) return;
  print(" stack");
  for (word i = 0; i < count; i++) print(" %p", ((word *)out.sp)[i]);
}

static void gates(void) {
  static const struct {
    const char *name;
    u8 type, count;
    u16 selector;
  } kinds[] = {{"32 bits", 0xec, 0, KERNEL_CS}, {"32 bits, 3 parameters", 0xec, 3, KERNEL_CS}, {"32 bits, 31 parameters", 0xec, 31, KERNEL_CS}, {"absent", 0x6c, 0, KERNEL_CS}, {"for ring 0", 0x8c, 0, KERNEL_CS}, {"to data", 0xec, 0, KERNEL_DS}, {"to null", 0xec, 0, 0}, {"beyond the limit", 0xec, 0, 0xfff8}, {"to ring 3", 0xec, 2, USER_CS32}, {"to a conforming segment", 0xec, 2, SELECTOR(2)}, {"to an absent segment", 0xec, 0, SELECTOR(3)}};
  gdt[SELECTOR(2) / 8] = descriptor(0, 0xfffff, 0xc9f);
  gdt[SELECTOR(3) / 8] = descriptor(0, 0xfffff, 0xc1b);
  static const u8 *const codes[] = {far_call, far_jump, far_call_16};
  for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
    for (int code = 0; code < 3; code++)
      for (int ring = 0; ring <= 3; ring += 3) {
        gdt[SELECTOR(0) / 8] = call_gate((word)target, kinds[i].selector, kinds[i].type, kinds[i].count);
        start(codes[code], ring);
        pointer(0x1234, SELECTOR(0) + ring, code == 2);
        for (int j = 0; j < 31; j++) ((word *)user_stack)[j - 64] = 0x1000 + j;
        if (ring) in.sp -= 256;
        go("gate %s, code %d, ring %d", kinds[i].name, code, ring);
        if (out.vector == 3) show_stack(kinds[i].count + 4);
      }
  /* 16-bit gates go to the first 64 KiB. */
  u8 *low = (u8 *)0x10000;
  for (int i = 0; i < 64; i++) low[i] = target[i];
  gdt[SELECTOR(4) / 8] = descriptor(0x10000, 0xffff, 0x49b);
  gdt[SELECTOR(0) / 8] = call_gate(0, SELECTOR(4), 0xe4, 2);
  for (int ring = 0; ring <= 3; ring += 3) {
    start(far_call, ring), pointer(0, SELECTOR(0) + ring, 0);
    if (ring) in.sp -= 256;
    go("gate of 16 bits, ring %d", ring);
    show_stack(4);
  }
  /* Inner stacks that are bad. */
  static const struct {
    const char *name;
    u16 selector;
    u32 sp;
  } stacks[] = {{"null", 0, 0x8000}, {"with RPL 3", KERNEL_DS + 3, 0x8000}, {"of ring 3", USER_DS, 0x8000}, {"code", KERNEL_CS, 0x8000}, {"beyond the limit", 0xfff8, 0x8000}, {"absent", SELECTOR(5), 0x8000}, {"read-only", SELECTOR(6), 0x8000}, {"too small", SELECTOR(7), 0x10}, {"just large enough", SELECTOR(7), 0x18}, {"of 16 bits", SELECTOR(8), 0x40}};
  gdt[SELECTOR(5) / 8] = descriptor(0, 0xfffff, 0xc13);
  gdt[SELECTOR(6) / 8] = descriptor(0, 0xfffff, 0xc91);
  gdt[SELECTOR(7) / 8] = descriptor((u32)(word)trap_stack2 - 0x800, 0x1000, 0x493);
  gdt[SELECTOR(8) / 8] = descriptor((u32)(word)trap_stack2 - 0x800, 0xffff, 0x093);
  gdt[SELECTOR(0) / 8] = call_gate((word)target, KERNEL_CS, 0xec, 2);
  /* The call goes to ring 1, so that exceptions have a good stack. */
  gdt[SELECTOR(9) / 8] = descriptor(0, 0xfffff, 0xcbb);
  gdt[SELECTOR(0) / 8] = call_gate((word)target, SELECTOR(9), 0xec, 2);
  for (unsigned i = 0; i < sizeof stacks / sizeof *stacks; i++) {
    for (int j = 5; j < 9; j++) gdt[SELECTOR(j) / 8] |= 0x20ull << 40;
    tss[3] = stacks[i].sp;
    tss[4] = stacks[i].selector < FREE || stacks[i].selector == 0xfff8 ? stacks[i].selector : stacks[i].selector + 1;
    start(far_call, 3), pointer(0, SELECTOR(0) + 3, 0);
    in.sp -= 256;
    go("inner stack %s", stacks[i].name);
  }
  tss[4] = 0;
  /* Interrupt gates of both sizes. */
  static const u8 types[] = {0xee, 0xef, 0x6e, 0xe6, 0xe7, 0xe5, 0xec, 0x8e};
  for (unsigned i = 0; i < sizeof types; i++)
    for (int ring = 0; ring <= 3; ring += 3) {
      set_gate(0x60, (word)stubs + 16 * 0x60, KERNEL_CS, types[i], 0);
      if (types[i] == 0xe6 || types[i] == 0xe7 || types[i] == 0xe5) continue; /* 16 bits: no stubs there */
      start(int_60, ring), in.flags |= FLAG_NT | FLAG_AC, go("interrupt gate of type %x, ring %d", (word)types[i], ring);
    }
  static const u16 selectors[] = {0, KERNEL_DS, SELECTOR(3), 0xfff8, USER_CS32, SELECTOR(2)};
  for (int i = 0; i < 6; i++)
    for (int ring = 0; ring <= 3; ring += 3) {
      set_gate(0x60, (word)stubs + 16 * 0x60, selectors[i], 0xee, 0);
      if (i >= 4) continue;
      start(int_60, ring), go("interrupt gate to %x, ring %d", (word)selectors[i], ring);
    }
  set_gate(6, (word)stubs + 16 * 6, KERNEL_CS, 0x0e, 0);
  start(undefined, 3), go("#UD by an absent gate");
  reset_idt();
  idt_table.limit = 0x60 * 8 + 6;
  asm volatile("lidt %0" : : "m"(idt_table));
  start(int_60, 3), go("INT beyond the limit");
  idt_table.limit = 2047;
  asm volatile("lidt %0" : : "m"(idt_table));
  start(into_code, 3), go("INTO");
  data[0] = 5, data[1] = 9;
  for (int value = 4; value < 11; value += 3) start(bound_code, 3), in.ax = value, go("BOUND %d", value);
}

static void far_transfers(void) {
  static const u16 types[] = {0xc1b, 0xc7b, 0xc9b, 0xcbb, 0xcfb, 0xc99, 0xc9f, 0xcff, 0xc93, 0x89, 0xe9b};
  for (unsigned i = 0; i < sizeof types / 2; i++)
    for (int ring = 0; ring <= 3; ring += 3)
      for (int rpl = 0; rpl <= 3; rpl += 3) {
        gdt[SELECTOR(0) / 8] = descriptor(0, 0xfffff, types[i]);
        if (types[i] == 0x89) continue;
        start(far_jump, ring), pointer((word)target, SELECTOR(0) + rpl, 0);
        go("JMP to segment %x, ring %d, RPL %d", (word)types[i], ring, rpl);
      }
  gdt[SELECTOR(0) / 8] = descriptor(0, 0x100, 0x4fb);
  start(far_jump, 3), pointer(0x101, SELECTOR(0) + 3, 0), go("JMP beyond the limit");
  start(far_call_16, 3), pointer(0x101, SELECTOR(0) + 3, 1), go("CALL of 16 bits beyond the limit");
  start(far_jump_16, 3), pointer(0x50, SELECTOR(0) + 3, 1), go("JMP of 16 bits");
  gdt[SELECTOR(1) / 8] = descriptor(0x10000, 0xffff, 0x0fb);
  gdt[SELECTOR(2) / 8] = descriptor((u32)(word)user_stack - 0x1000, 0xffff, 0x0f3);
  u8 *low = (u8 *)0x10000;
  for (int i = 0; i < 64; i++) low[i] = code_16[i];
  start(far_jump, 3), pointer(0, SELECTOR(1) + 3, 0), go("JMP to 16 bits");
  start((u8 *)0, 3), in.cs = SELECTOR(1) + 3, in.ss = SELECTOR(2) + 3, in.sp = 0xabcd0100, go("16 bits, stack of 16 bits");
  start((u8 *)0, 3), in.cs = SELECTOR(1) + 3, in.ss = SELECTOR(2) + 3, in.sp = 0, go("16 bits, SP wraps around");
  for (int i = 0; i < 64; i++) low[i] = stack_16[i];
  start((u8 *)0, 3), in.cs = SELECTOR(1) + 3, in.ss = SELECTOR(2) + 3, in.sp = 0xabcd0002, go("16 bits, a PUSH across the wrap");

  static const struct {
    const char *name;
    u16 cs, ss;
  } returns[] = {{"to ring 3", USER_CS32, USER_DS}, {"to ring 0", KERNEL_CS, KERNEL_DS}, {"CS null", 0, USER_DS}, {"CS data", USER_DS, USER_DS}, {"CS beyond the limit", 0xfffb, USER_DS}, {"RPL above DPL", KERNEL_CS + 3, USER_DS}, {"RPL below DPL", USER_CS32 - 3, USER_DS}, {"SS null", USER_CS32, 0}, {"SS code", USER_CS32, USER_CS32}, {"SS of ring 0", USER_CS32, KERNEL_DS + 3}, {"SS with RPL 0", USER_CS32, USER_DS - 3}, {"SS beyond the limit", USER_CS32, 0xfffb}, {"SS absent", USER_CS32, SELECTOR(3) + 3}, {"CS absent", SELECTOR(4) + 3, USER_DS}};
  static const u8 *const codes[] = {far_return, far_return_n, iret_code};
  gdt[SELECTOR(3) / 8] = descriptor(0, 0xfffff, 0xc73);
  gdt[SELECTOR(4) / 8] = descriptor(0, 0xfffff, 0xc7b);
  show = SHOW_SEGMENTS;
  for (unsigned i = 0; i < sizeof returns / sizeof *returns; i++)
    for (int code = 0; code < 3; code++) {
      word *frame = data;
      frame[0] = (word)target, frame[1] = returns[i].cs;
      if (code == 0) frame[2] = (word)user_stack, frame[3] = returns[i].ss;
      if (code == 1) frame[4] = (word)user_stack, frame[5] = returns[i].ss;
      if (code == 2) frame[2] = 2, frame[3] = (word)user_stack, frame[4] = returns[i].ss;
      start(codes[code], 0);
      go("return %s, code %d", returns[i].name, code);
      if (returns[i].cs == USER_CS32 && returns[i].ss == USER_DS) {
        start(codes[code], 3);
        go("return %s, code %d, in ring 3", returns[i].name, code);
      }
    }
  u16 *frame16 = (u16 *)data;
  frame16[0] = 0, frame16[1] = SELECTOR(1) + 3, frame16[2] = 2, frame16[3] = 0x100, frame16[4] = SELECTOR(2) + 3;
  for (int i = 0; i < 64; i++) low[i] = code_16[i];
  start(iret_16, 0), go("IRET of 16 bits to ring 3");
  frame16[2] = 0x100, frame16[3] = SELECTOR(2) + 3;
  start(far_return_16, 0), go("RET of 16 bits to ring 3");
  show = 0;

  wrmsr(0x174, 8), wrmsr(0x175, (word)kernel_stack), wrmsr(0x176, (word)target);
  start(sysenter_code, 3), go("SYSENTER");
  start(sysexit_code, 0), in.cx = (word)user_stack, in.dx = (word)target, go("SYSEXIT");
  start(sysexit_code, 3), go("SYSEXIT in ring 3");
  start(syscall_code, 3), go("SYSCALL");
}

int main(void) {
  limits();
  loads();
  gates();
  far_transfers();
  return 0;
}
