/* Far transfers, call gates and segment loads in long mode (SDM Vol. 2, CALL JMP RET MOV LAR LSL VERR LTR LLDT). */
#include "guest.h"

CODE(jump, "ljmp *(%rsi)");
CODE(jump_16, "ljmpw *(%rsi)");
CODE(jump_64, "rex.w ljmp *(%rsi)");
CODE(call, "lcall *(%rsi)");
CODE(call_64, "rex.w lcall *(%rsi)");
CODE(ret_d, "mov %rsi, %rsp\nlretl");
CODE(ret_q, "mov %rsi, %rsp\nlretq");
CODE(ret_w, "mov %rsi, %rsp\nlretw");
CODE(ret_q_n, "mov %rsi, %rsp\nlretq $16");
CODE(target, "mov %ds, %r12d\nmov %es, %r13d\nmov %ss, %r14d\nmov %cs, %r15d");
CODE32(target_32, "mov %ss, %ebx\nmov %cs, %ebp");
CODE(load_ds, "mov %ecx, %ds\nmov %ds, %eax");
CODE(load_es, "mov %ecx, %es\nmov %es, %eax");
CODE(load_fs, "mov %ecx, %fs\nmov %fs, %eax");
CODE(load_gs, "mov %ecx, %gs\nmov %gs, %eax");
CODE(load_ss, "mov %ecx, %ss\nmov %ss, %eax");
CODE(lss_code, "lss (%rsi), %eax\nmov %ss, %ebx");
CODE(lfs_code, "lfs (%rsi), %eax\nmov %fs, %ebx");
CODE(lgs_64, ".byte 0x48, 0x0f, 0xb5, 0x06\nmov %gs, %ebx");
CODE(pop_fs, "mov %rsi, %rsp\npop %fs\nmov %fs, %eax");
CODE(pop_gs_16, "mov %rsi, %rsp\npopw %gs\nmov %gs, %eax");
CODE(push_fs, "mov %ecx, %fs\npush %fs\npop %rax");
CODE(lar_code, "lar %ecx, %eax\nsetz %bl\nand $~0xf0000, %eax");
CODE(lsl_code, "lsl %ecx, %eax\nsetz %bl");
CODE(lsl_64, "lsl %rcx, %rax\nsetz %bl");
CODE(lar_16, "lar %cx, %ax\nsetz %bl");
CODE(verr_code, "verr %cx\nsetz %bl");
CODE(verw_code, "verw %cx\nsetz %bl");
CODE(ltr_code, "ltr %cx\nstr %eax");
CODE(lldt_code, "lldt %cx\nsldt %eax");
CODE32(load_ds_32, "mov %ecx, %ds\nmov %ds:(%esi), %eax");
CODE32(load_ss_32, "mov %ecx, %ss\nmov %ss, %eax");
CODE32(store_ds_32, "mov %ecx, %ds\nmov %eax, %ds:(%esi)");
CODE32(call_32, "push %ss\npop %ds\nlcall *(%esi)");
CODE32(jump_direct_32, ".byte 0xea\n.long target\n.word 0x33");

#define SELECTOR(i) (FREE + 8 * (i))
#define POINTER_PAGE 8
static word *const pointer = (word *)(PAGE(POINTER_PAGE) + 64);

static void start(const u8 *code, int ring) {
  if (ring == 3) user(code);
  else kernel(code);
  in.si = (word)pointer;
}

static void set_pointer(const u8 *code, word offset, u16 selector) {
  u8 *p = (u8 *)pointer;
  if (code == jump_64 || code == call_64) *(u64 *)p = offset, p += 8;
  else if (code == jump_16) *(u16 *)p = offset, p += 2;
  else *(u32 *)p = offset, p += 4;
  *(u16 *)p = selector;
}

static void to_segments(void) {
  static const struct {
    const char *name;
    const u8 *code;
  } kinds[] = {{"JMP", jump}, {"JMP 64", jump_64}, {"CALL", call}, {"CALL 64", call_64}};
  static const u16 selectors[] = {0, 3, KERNEL_CS, KERNEL_CS + 3, 0x18, USER_CS64, USER_CS64 - 3, USER_CS32, USER_DS, KERNEL_DS, TSS_SELECTOR, 0xfff8, KERNEL_CS + 4, 0x40};
  for (int kind = 0; kind < 4; kind++)
    for (int ring = 0; ring <= 3; ring += 3)
      for (unsigned i = 0; i < sizeof selectors / 2; i++) {
        int is32 = (selectors[i] & ~3) == 0x18 || (selectors[i] & ~3) == 0x20;
        start(kinds[kind].code, ring);
        set_pointer(kinds[kind].code, (word)(is32 ? target_32 : target), selectors[i]);
        go("%s to %x, ring %d", kinds[kind].name, (word)selectors[i], ring);
      }
  static const u16 codes[] = {0xa1b, 0xa7b, 0xa9f, 0xaff, 0xedb, 0xadf, 0xefb, 0xa9b, 0xafb, 0x47b, 0x4fb, 0x40c, 0xa99};
  for (unsigned i = 0; i < sizeof codes / 2; i++)
    for (int ring = 0; ring <= 3; ring += 3)
      for (int rpl = 0; rpl <= 3; rpl += 3) {
        gdt[SELECTOR(0) / 8] = descriptor(0, 0xfffff, codes[i]);
        start(jump, ring);
        set_pointer(jump, (word)target, SELECTOR(0) + rpl);
        go("JMP to code segment %x, ring %d, RPL %d", (word)codes[i], ring, rpl);
        print(" descriptor %x", gdt[SELECTOR(0) / 8]);
      }
  start(jump_64, 0), set_pointer(jump_64, 1ul << 47, KERNEL_CS), go("JMP to an address that is not canonical");
  start(call_64, 0), set_pointer(call_64, 1ul << 47, KERNEL_CS), go("CALL to an address that is not canonical");
  start(jump_64, 0), set_pointer(jump_64, (word)target | 1ul << 40, USER_CS64 - 3), go("JMP with a high offset");
  start(jump_64, 3), set_pointer(jump_64, (word)target_32 | 1ul << 40, USER_CS32), go("JMP to 32 bits with a high offset");
  start(jump_16, 3), set_pointer(jump_16, 0x1234, USER_CS64), go("JMP of 16 bits");
  start(call, 0), in.sp = (1ul << 47) + 8, set_pointer(call, (word)target, KERNEL_CS), go("CALL, stack not canonical");
  start(call, 0), in.sp = 0x30000000, set_pointer(call, (word)target, KERNEL_CS), go("CALL, stack not mapped");
  start(call_64, 0), in.sp = (word)kernel_stack - 3, set_pointer(call_64, (word)target, KERNEL_CS), go("CALL, odd stack");
  start(call, 3), in.si = 1ul << 47, go("CALL, pointer not canonical");
  start(jump, 3), in.si = PAGE(POINTER_PAGE + 1) - 5, go("JMP, pointer across pages");
}

/* A 16-byte call gate. */
static void set_gate64(int i, word offset, u16 selector, u8 type, u32 last) {
  gdt[SELECTOR(i) / 8] = (offset & 0xffff) | (u64)selector << 16 | (u64)type << 40 | (offset >> 16 & 0xffff) << 48;
  gdt[SELECTOR(i) / 8 + 1] = offset >> 32 | (u64)last << 32;
}

static void gates(void) {
  static const struct {
    const char *name;
    word offset;
    u16 selector;
    u8 type;
    u32 last;
  } cases[] = {
      {"open", (word)target, KERNEL_CS, 0xec, 0},
      {"to ring 3", (word)target, USER_CS64, 0xec, 0},
      {"for ring 0", (word)target, KERNEL_CS, 0x8c, 0},
      {"absent", (word)target, KERNEL_CS, 0x6c, 0},
      {"of 16 bits", (word)target, KERNEL_CS, 0xe4, 0},
      {"interrupt gate", (word)target, KERNEL_CS, 0xee, 0},
      {"with type bits in its upper half", (word)target, KERNEL_CS, 0xec, 0x100},
      {"with S in its upper half", (word)target, KERNEL_CS, 0xec, 0x1000},
      {"with other bits in its upper half", (word)target, KERNEL_CS, 0xec, 0xffffe000},
      {"with parameters", (word)target, KERNEL_CS, 0xec, 0},
      {"to 32 bits", (word)target_32, 0x18, 0xec, 0},
      {"to a null selector", (word)target, 0, 0xec, 0},
      {"to data", (word)target, KERNEL_DS, 0xec, 0},
      {"beyond the limit", (word)target, 0xfff8, 0xec, 0},
      {"to an address that is not canonical", 1ul << 47, KERNEL_CS, 0xec, 0},
      {"to a selector with RPL 3", (word)target, KERNEL_CS + 3, 0xec, 0},
      {"to an absent segment", (word)target, SELECTOR(4), 0xec, 0},
      {"to a conforming segment", (word)target, SELECTOR(5), 0xec, 0},
  };
  static const u8 *const codes[] = {jump, call, call_64};
  gdt[SELECTOR(4) / 8] = descriptor(0, 0xfffff, 0xa1b);
  gdt[SELECTOR(5) / 8] = descriptor(0, 0xfffff, 0xa9f);
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int code = 0; code < 3; code++)
      for (int ring = 0; ring <= 3; ring += 3) {
        set_gate64(0, cases[i].offset, cases[i].selector, cases[i].type, cases[i].last);
        if (cases[i].name[5] == 'p' && cases[i].name[0] == 'w') gdt[SELECTOR(0) / 8] |= 7ul << 32;
        start(codes[code], ring);
        set_pointer(codes[code], 0xdeadbeef, SELECTOR(0) + ring);
        go("%s by a gate %s, ring %d", code ? code == 2 ? "CALL 64" : "CALL" : "JMP", cases[i].name, ring);
        if (out.sp != in.sp && out.cs == KERNEL_CS)
          print(" pushed %p %p %p %p", ((word *)out.sp)[0], ((word *)out.sp)[1], ((word *)out.sp)[2], ((word *)out.sp)[3]);
      }
  set_gate64(0, (word)target, KERNEL_CS, 0xcc, 0);
  start(call, 0), set_pointer(call, 0, SELECTOR(0) + 3), go("CALL by a gate, RPL above its DPL");
  set_gate64(0, (word)target, KERNEL_CS, 0xec, 0);
  word rsp0 = *(u64 *)&tss[1];
  *(u64 *)&tss[1] = 1ul << 47;
  start(call, 3), set_pointer(call, 0, SELECTOR(0) + 3), go("CALL by a gate, RSP0 not canonical");
  *(u64 *)&tss[1] = 0x30000000;
  start(call, 3), set_pointer(call, 0, SELECTOR(0) + 3), go("CALL by a gate, RSP0 not mapped");
  *(u64 *)&tss[1] = rsp0 - 3;
  start(call, 3), set_pointer(call, 0, SELECTOR(0) + 3), go("CALL by a gate, RSP0 odd");
  *(u64 *)&tss[1] = rsp0;
  gdt[SELECTOR(14) / 8] = gdt[SELECTOR(0) / 8];
  gdt[SELECTOR(15) / 8] = gdt[SELECTOR(1) / 8];
  start(call, 3), set_pointer(call, 0, SELECTOR(15) + 3), go("CALL by a gate that ends beyond the limit");
}

static void return_by(const char *name, const u8 *code, int ring, word ip, word cs, word sp, word ss) {
  word *frame = pointer;
  int released = code == ret_q_n ? 2 : 0;
  for (int i = 0; i < 8; i++) frame[i] = 0;
  if (code == ret_q || code == ret_q_n) {
    frame[0] = ip, frame[1] = cs, frame[2 + released] = sp, frame[3 + released] = ss;
  } else if (code == ret_d) {
    u32 *frame32 = (u32 *)frame;
    frame32[0] = ip, frame32[1] = cs, frame32[2] = sp, frame32[3] = ss;
  } else {
    u16 *frame16 = (u16 *)frame;
    frame16[0] = ip, frame16[1] = cs, frame16[2] = sp, frame16[3] = ss;
  }
  start(code, ring);
  go("%s", name);
}

static void returns(void) {
  word ip = (word)target, sp = (word)user_stack;
  show = SHOW_SEGMENTS;
  return_by("RET to ring 0", ret_q, 0, ip, KERNEL_CS, sp, KERNEL_DS);
  return_by("RET to ring 3", ret_q, 0, ip, USER_CS64, sp, USER_DS);
  return_by("RET n to ring 3", ret_q_n, 0, ip, USER_CS64, sp, USER_DS);
  return_by("RET n to ring 0", ret_q_n, 0, ip, KERNEL_CS, sp, USER_DS);
  return_by("RET of 32 bits to ring 3", ret_d, 0, ip, USER_CS64, sp, USER_DS);
  return_by("RET of 32 bits to ring 0", ret_d, 0, ip, KERNEL_CS, sp, USER_DS);
  return_by("RET of 16 bits to ring 3", ret_w, 0, ip, USER_CS64, sp, USER_DS);
  return_by("RET in ring 3", ret_q, 3, ip, USER_CS64, sp, USER_DS);
  return_by("RET in ring 3 to 32 bits", ret_q, 3, (word)target_32, USER_CS32, sp, USER_DS);
  return_by("RET to ring 3 of 32 bits", ret_q, 0, (word)target_32, USER_CS32, sp | 1ul << 40, USER_DS);
  show = 0;
  return_by("RET in ring 3 to ring 0", ret_q, 3, ip, KERNEL_CS, sp, USER_DS);
  return_by("RET to null", ret_q, 0, ip, 0, sp, USER_DS);
  return_by("RET to null with RPL", ret_q, 0, ip, 3, sp, USER_DS);
  return_by("RET beyond the limit", ret_q, 0, ip, 0xfffb, sp, USER_DS);
  return_by("RET to data", ret_q, 0, ip, USER_DS, sp, USER_DS);
  return_by("RET to the TSS", ret_q, 0, ip, TSS_SELECTOR, sp, USER_DS);
  return_by("RET, RPL above DPL", ret_q, 0, ip, KERNEL_CS + 3, sp, USER_DS);
  return_by("RET, RPL below DPL", ret_q, 0, ip, USER_CS64 - 3, sp, USER_DS);
  return_by("RET, SS null", ret_q, 0, ip, USER_CS64, sp, 3);
  return_by("RET, SS null, to 32 bits", ret_q, 0, ip, USER_CS32, sp, 3);
  return_by("RET, SS beyond the limit", ret_q, 0, ip, USER_CS64, sp, 0xfffb);
  return_by("RET, SS code", ret_q, 0, ip, USER_CS64, sp, USER_CS64);
  return_by("RET, SS with RPL 0", ret_q, 0, ip, USER_CS64, sp, USER_DS - 3);
  return_by("RET, SS of ring 0", ret_q, 0, ip, USER_CS64, sp, KERNEL_DS + 3);
  gdt[SELECTOR(0) / 8] = descriptor(0, 0xfffff, 0xc73);
  return_by("RET, SS absent", ret_q, 0, ip, USER_CS64, sp, SELECTOR(0) + 3);
  gdt[SELECTOR(0) / 8] = descriptor(0, 0xfffff, 0xcf1);
  return_by("RET, SS read-only", ret_q, 0, ip, USER_CS64, sp, SELECTOR(0) + 3);
  gdt[SELECTOR(0) / 8] = descriptor(0, 0xfffff, 0xa7b);
  return_by("RET, CS absent", ret_q, 0, ip, SELECTOR(0) + 3, sp, USER_DS);
  return_by("RET to an address that is not canonical", ret_q, 0, 1ul << 47, USER_CS64, sp, USER_DS);
  return_by("RET to an address that is not canonical, ring 0", ret_q, 0, 1ul << 47, KERNEL_CS, sp, USER_DS);
  return_by("RET to a stack that is not canonical", ret_q, 0, ip, USER_CS64, 1ul << 47, USER_DS);
  return_by("RET, high RIP, to 32 bits", ret_q, 0, (word)target_32 | 1ul << 40, USER_CS32, sp, USER_DS);
  start(ret_q, 0), in.si = 1ul << 47, go("RET from a stack that is not canonical");
  start(ret_q, 3), in.si = 0x30000000, go("RET from a stack that is not mapped");
  start(ret_q, 3), in.si = (word)gdt, go("RET in ring 3 from a supervisor's stack");
  write_cr4(read_cr4() | CR4_SMAP);
  start(ret_q, 3), in.si = (word)pointer, go("SMAP, RET in ring 3");
  start(ret_q, 0), in.si = (word)pointer, go("SMAP, RET in ring 0 from a user page");
  write_cr4(read_cr4() & ~CR4_SMAP);
}

static void loads(void) {
  static const struct {
    const char *name;
    const u8 *code;
  } kinds[] = {{"DS", load_ds}, {"ES", load_es}, {"FS", load_fs}, {"GS", load_gs}, {"SS", load_ss}};
  static const u16 selectors[] = {0, 1, 2, 3, KERNEL_DS, KERNEL_DS + 3, USER_DS, USER_DS - 3, KERNEL_CS, USER_CS64, USER_CS32, TSS_SELECTOR, 0xfff8, USER_DS | 4, 0xc8, 0xc0};
  for (int kind = 0; kind < 5; kind++)
    for (int ring = 0; ring <= 3; ring += 3)
      for (unsigned i = 0; i < sizeof selectors / 2; i++) {
        start(kinds[kind].code, ring);
        in.cx = selectors[i];
        go("%s with %x, ring %d", kinds[kind].name, (word)selectors[i], ring);
      }
  static const u16 types[] = {0xc13, 0xc73, 0xcf1, 0xcf3, 0xcf7, 0xcf2, 0xaf9, 0xafb, 0xafd, 0xaff, 0xa9d, 0xa9f, 0x093, 0xc82, 0xcd3, 0xcb3};
  static const int chosen[] = {0, 2, 4};
  for (unsigned i = 0; i < sizeof types / 2; i++)
    for (int kind = 0; kind < 3; kind++)
      for (int ring = 0; ring <= 3; ring += 3) {
        gdt[SELECTOR(0) / 8] = descriptor(0, 0xfffff, types[i]);
        start(kinds[chosen[kind]].code, ring);
        in.cx = SELECTOR(0) + ring;
        go("%s with segment %x, ring %d", kinds[chosen[kind]].name, (word)types[i], ring);
        print(" descriptor %x", gdt[SELECTOR(0) / 8]);
      }
  *(u32 *)pointer = 0x12345678, *(u16 *)((u8 *)pointer + 4) = USER_DS;
  start(lss_code, 3), go("LSS");
  start(lss_code, 0), go("LSS in ring 0");
  start(lfs_code, 3), go("LFS");
  *(u64 *)pointer = 0x123456789abc, *(u16 *)(pointer + 1) = USER_DS;
  start(lgs_64, 3), go("LGS of 64 bits");
  *(u64 *)pointer = USER_DS;
  start(pop_fs, 3), go("POP FS");
  start(pop_gs_16, 3), go("POP GS of 16 bits");
  start(push_fs, 3), in.cx = USER_DS, go("PUSH FS");
  *(u64 *)pointer = 0xfff8;
  start(pop_fs, 3), go("POP FS beyond the limit");
}

/* Without a good TSS there is no IST. */
static void load_tr(u16 selector, const char *name) {
  static const u8 vectors[] = {3, 11, 13};
  for (int i = 0; i < 3; i++) set_gate(vectors[i], (word)stubs + 16 * vectors[i], KERNEL_CS, 0x8e, 0);
  start(ltr_code, 0), in.cx = selector, go("LTR with %x%s", (word)selector, name);
  reset_idt();
  gdt[TSS_SELECTOR / 8] &= ~(2ul << 40);
  asm volatile("ltr %w0" : : "r"(TSS_SELECTOR));
}

static void queries(void) {
  static const struct {
    const char *name;
    const u8 *code;
  } kinds[] = {{"LAR", lar_code}, {"LSL", lsl_code}, {"LSL 64", lsl_64}, {"LAR 16", lar_16}, {"VERR", verr_code}, {"VERW", verw_code}};
  static const u16 selectors[] = {0, 3, KERNEL_CS, KERNEL_DS, USER_DS, USER_CS64, USER_CS32, TSS_SELECTOR, TSS_SELECTOR + 3, 0xfff8, USER_DS | 4};
  for (int kind = 0; kind < 6; kind++)
    for (int ring = 0; ring <= 3; ring += 3) {
      for (unsigned i = 0; i < sizeof selectors / 2; i++) {
        start(kinds[kind].code, ring);
        in.cx = selectors[i];
        go("%s of %x, ring %d", kinds[kind].name, (word)selectors[i], ring);
      }
      for (word type = 0; type < 32; type++) {
        gdt[SELECTOR(0) / 8] = descriptor(0, 0x12345, 0x8e0 + type);
        gdt[SELECTOR(1) / 8] = 0;
        start(kinds[kind].code, ring);
        in.cx = SELECTOR(0);
        go("%s of type %x, ring %d", kinds[kind].name, type, ring);
      }
      gdt[SELECTOR(0) / 8] = descriptor(0, 0x12345, 0x09f);
      start(kinds[kind].code, ring), in.cx = SELECTOR(0) + 3, go("%s of a conforming segment, ring %d", kinds[kind].name, ring);
      gdt[SELECTOR(0) / 8] = descriptor(0, 0x12345, 0x073);
      start(kinds[kind].code, ring), in.cx = SELECTOR(0), go("%s of an absent segment, ring %d", kinds[kind].name, ring);
    }
  for (word type = 0; type < 32; type++) {
    static const u8 *const codes[] = {ltr_code, lldt_code};
    for (int code = 0; code < 2; code++) {
      gdt[SELECTOR(0) / 8] = descriptor((u32)(word)tss, 0x20ff, 0x80 + type);
      gdt[SELECTOR(1) / 8] = 0;
      start(codes[code], 0);
      in.cx = SELECTOR(0);
      go("%s with type %x", code ? "LLDT" : "LTR", type);
      if (out.vector == 3) print(" type %x", gdt[SELECTOR(0) / 8] >> 40 & 0x1f);
      asm volatile("lldt %w0" : : "r"(0));
      gdt[TSS_SELECTOR / 8] &= ~(2ul << 40);
      asm volatile("ltr %w0" : : "r"(TSS_SELECTOR));
    }
  }
  static const u16 bad[] = {0, 3, 0xfff8, SELECTOR(0) + 4, SELECTOR(15)};
  for (int i = 0; i < 5; i++) {
    gdt[SELECTOR(15) / 8] = descriptor((u32)(word)tss, 0x20ff, 0x89);
    load_tr(bad[i], "");
    gdt[SELECTOR(15) / 8] = descriptor((u32)(word)tss, 0x20ff, 0x82);
    start(lldt_code, 0), in.cx = bad[i], go("LLDT with %x", (word)bad[i]);
  }
  asm volatile("lldt %w0" : : "r"(0));
  gdt[SELECTOR(0) / 8] = descriptor((u32)(word)tss, 0x20ff, 0x89);
  gdt[SELECTOR(1) / 8] = 0x8000;
  load_tr(SELECTOR(0), ", base not canonical");
  gdt[SELECTOR(1) / 8] = 0x1f0000000000;
  load_tr(SELECTOR(0), ", type bits in the upper half");
  gdt[SELECTOR(0) / 8] = descriptor(0, 0x2ff, 0x09);
  gdt[SELECTOR(1) / 8] = 0;
  load_tr(SELECTOR(0), ", absent");
  gdt[SELECTOR(0) / 8] = descriptor(0, 0x2ff, 0x02);
  start(lldt_code, 0), in.cx = SELECTOR(0), go("LLDT, absent");
  start(ltr_code, 3), in.cx = SELECTOR(0), go("LTR in ring 3");
  start(lldt_code, 3), in.cx = SELECTOR(0), go("LLDT in ring 3");
  gdt[TSS_SELECTOR / 8] &= ~(2ul << 40);
  asm volatile("ltr %w0" : : "r"(TSS_SELECTOR));
  /* A local table. */
  static u64 local[2];
  local[1] = descriptor(0, 0xfffff, 0xcf3);
  gdt[SELECTOR(0) / 8] = descriptor((u32)(word)local, 15, 0x82);
  gdt[SELECTOR(1) / 8] = 0;
  asm volatile("lldt %w0" : : "r"(SELECTOR(0)));
  start(load_fs, 3), in.cx = 15, go("FS from the LDT");
  start(load_fs, 3), in.cx = 23, go("FS from beyond the LDT");
  start(load_fs, 3), in.cx = 7, go("FS from the LDT's first entry");
  asm volatile("lldt %w0" : : "r"(0));
}

static void compatibility(void) {
  static const struct {
    const char *name;
    u32 base, limit;
    u16 type;
  } segments[] = {
      {"data", 0, 0xfffff, 0x4f3},        {"read-only", 0, 0xfffff, 0xcf1}, {"small", PAGE(POINTER_PAGE), 0xfff, 0x4f3},
      {"expand-down", 0, 0x8, 0xcf7},     {"code", 0, 0xfffff, 0xcfb},      {"execute-only", 0, 0xfffff, 0xcf9},
      {"expand-down of 16 bits", 0, 0x8, 0x8f7},
  };
  static const u8 *const codes[] = {load_ds_32, store_ds_32, load_ss_32};
  for (unsigned i = 0; i < sizeof segments / sizeof *segments; i++)
    for (int code = 0; code < 3; code++)
      for (int edge = 0; edge < 3; edge++) {
        static const u32 edges[] = {0, 0xffd, 0x1000};
        gdt[SELECTOR(0) / 8] = descriptor(segments[i].base, segments[i].limit, segments[i].type);
        *(volatile u32 *)PAGE(POINTER_PAGE) = 0x1234;
        start(codes[code], 3);
        in.cs = USER_CS32;
        in.cx = SELECTOR(0) + 3;
        in.si = (segments[i].base ? 0 : PAGE(POINTER_PAGE)) + edges[edge];
        go("32 bits, %s %s at %x", segments[i].name, code ? code == 2 ? "as SS" : "written" : "read", (word)edges[edge]);
      }
  start(call_32, 3), in.cs = USER_CS32, set_pointer(call, (word)target, USER_CS64), go("CALL from 32 to 64 bits");
  start(jump_direct_32, 3), in.cs = USER_CS32, go("JMP from 32 to 64 bits");
  start(load_ss_32, 3), in.cs = USER_CS32, in.cx = 3, go("SS null in 32 bits");
  start(load_ss_32, 0), in.cs = 0x18, in.cx = 0, go("SS null in 32 bits, ring 0");
  start(load_ds_32, 3), in.cs = USER_CS32, in.cx = 0, go("DS null used in 32 bits");
}

int main(void) {
  map(POINTER_PAGE, SPARE, P | W | U);
  map(POINTER_PAGE + 1, 0, 0);
  to_segments();
  gates();
  returns();
  loads();
  queries();
  compatibility();
  return 0;
}
