/*
 * Control and debug registers, privileged and sensitive instructions, I/O permission, FPU traps, alignment checks (SDM
 * Vol. 2; Vol. 3A 2.5, 17.2; Vol. 1 19.5).
 */
#include "guest.h"

CODE(hlt_code, "hlt");
CODE(cli_code, "cli");
CODE(sti_code, "sti\ncli");
CODE(clts_code, "clts\nsmsw %eax");
CODE(lmsw_code, "lmsw %ax\nsmsw %ebx");
CODE(smsw_32, "mov $-1, %rax\nsmsw %eax");
CODE(smsw_64, "smsw %rax");
CODE(smsw_16, "mov $-1, %rax\nsmsw %ax");
CODE(smsw_memory, "movq $-1, (%rsi)\nsmsw (%rsi)\nmov (%rsi), %rax");
CODE(sgdt_code, "sgdt (%rsi)\nmov (%rsi), %ax\nmov 2(%rsi), %rbx");
CODE(sidt_code, "sidt (%rsi)\nmov (%rsi), %ax");
CODE(sldt_code, "mov $-1, %rax\nsldt %eax");
CODE(str_code, "mov $-1, %rax\nstr %rax");
CODE(str_16, "mov $-1, %rax\nstr %ax");
CODE(lgdt_code, "lgdt (%rsi)");
CODE(lidt_code, "lidt (%rsi)");
CODE(invlpg_code, "invlpg (%rsi)");
CODE(invd_code, "invd");
CODE(wbinvd_code, "wbinvd");
CODE(rdtsc_code, "rdtsc\nmov $0, %eax\nmov $0, %edx");
CODE(rdtscp_code, "rdtscp\nmov $0, %eax\nmov $0, %edx\nmov $0, %ecx");
CODE(rdpmc_code, "rdpmc");
CODE(xgetbv_code, "xgetbv");
CODE(xsetbv_code, "xsetbv\nxor %eax, %eax\nxgetbv");
CODE(pushf_code, "pushf\npop %rax");
CODE(popf_code, "push %rax\npopf\npushf\npop %rbx\npushq $2\npopf");
CODE(popf_16, "pushw %ax\npopfw\npushf\npop %rbx\npushq $2\npopf");
CODE(in_code, "in %dx, %al");
CODE(in_32, "in %dx, %eax");
CODE(out_16, "out %ax, %dx");
CODE(in_immediate, "in $0xed, %al");
CODE(ins_code, "insb");
CODE(rep_ins_0, "xor %ecx, %ecx\nrep insb");
CODE(ud0_code, "ud0 %eax, %eax");
CODE(ud1_code, "ud1 %eax, %eax");
CODE(vmcall_code, "vmcall");
CODE(vmmcall_code, "vmmcall");
CODE(fnop_code, "fnop");
CODE(fwait_code, "fwait");
CODE(mmx_code, "pxor %mm0, %mm0");
CODE(sse_code, "pxor %xmm0, %xmm0");
CODE(ldmxcsr_code, "ldmxcsr (%rsi)");
CODE(fxsave_code, "fxsave (%rsi)");
CODE(prefetch_code, "prefetcht0 (%rsi)\nsfence\nlfence\nmfence");
CODE(movnti_code, "movnti %eax, (%rsi)");
CODE(clac_code, "clac");
CODE(stac_code, "stac");
CODE(bsf_f3, "rep bsf %rcx, %rax");
CODE(lock_register, ".byte 0xf0, 0x01, 0xc0");
CODE(lock_mov, ".byte 0xf0, 0x89, 0x06");
CODE(long_code, ".byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90");
CODE(longest_code, ".byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90");
CODE(opcode_06, ".byte 0x06");
CODE(opcode_60, ".byte 0x60");
CODE(opcode_9a, ".byte 0x9a, 0, 0, 0, 0, 0, 0");
CODE(opcode_d6, ".byte 0xd6");
CODE(opcode_c4, ".byte 0xc4, 0xc0, 0, 0");
CODE(lock_nop, ".byte 0xf0, 0x90");

/* MOV to and from control and debug registers, made for each. */
static u8 *const move = (u8 *)SPARE;

static void move_code(u8 opcode, int number, int rex) {
  u8 *p = move;
  if (rex) *p++ = 0x40 | rex;
  *p++ = 0x0f, *p++ = opcode, *p++ = 0xc0 | (number & 7) << 3, *p = 0xcc;
}

static void start(const void *code, int ring) {
  if (ring) user(code);
  else kernel(code);
  in.si = PAGE(8);
}

static void privileged(void) {
  static const struct {
    const char *name;
    const u8 *code;
  } codes[] = {{"HLT", hlt_code}, {"CLI", cli_code}, {"STI", sti_code}, {"CLTS", clts_code}, {"LMSW", lmsw_code}, {"INVD", invd_code}, {"WBINVD", wbinvd_code}, {"INVLPG", invlpg_code}, {"LGDT", lgdt_code}, {"LIDT", lidt_code}, {"SMSW", smsw_32}, {"SMSW 64", smsw_64}, {"SMSW 16", smsw_16}, {"SMSW memory", smsw_memory}, {"SGDT", sgdt_code}, {"SIDT", sidt_code}, {"SLDT", sldt_code}, {"STR", str_code}, {"STR 16", str_16}, {"RDTSC", rdtsc_code}, {"RDTSCP", rdtscp_code}, {"RDPMC", rdpmc_code}, {"XGETBV", xgetbv_code}, {"XSETBV", xsetbv_code}, {"IN", in_code}, {"IN imm", in_immediate}, {"INS", ins_code}, {"REP INS 0", rep_ins_0}, {"CLAC", clac_code}, {"STAC", stac_code}, {"VMCALL", vmcall_code}, {"VMMCALL", vmmcall_code}, {"UD0", ud0_code}, {"UD1", ud1_code}, {"LOCK of a register", lock_register}, {"LOCK MOV", lock_mov}, {"LOCK NOP", lock_nop}, {"16 bytes", long_code}, {"15 bytes", longest_code}, {"06", opcode_06}, {"60", opcode_60}, {"9A", opcode_9a}, {"D6", opcode_d6}, {"C4", opcode_c4}, {"F3 BSF", bsf_f3}};
  static const struct {
    const char *name;
    word cr4;
  } modes[] = {{"", 0}, {", UMIP", CR4_UMIP}, {", TSD", CR4_TSD}, {", PCE", CR4_PCE}, {", OSXSAVE", CR4_OSXSAVE}, {", SMAP", CR4_SMAP}};
  word cr4 = read_cr4();
  for (int mode = 0; mode < 6; mode++) {
    write_cr4(cr4 | modes[mode].cr4);
    for (unsigned i = 0; i < sizeof codes / sizeof *codes; i++)
      for (int ring = 0; ring <= 3; ring += 3) {
        if (ring == 0 && (codes[i].code == hlt_code || codes[i].code == lgdt_code || codes[i].code == lidt_code)) continue;
        start(codes[i].code, ring);
        in.dx = 0x390;
        in.di = PAGE(8) + 512;
        if (codes[i].code == bsf_f3) in.ax = 0x1234;
        if (codes[i].code == xsetbv_code) in.ax = 3, in.dx = 0;
        if (codes[i].code == lmsw_code) in.ax = 3;
        /* SMAP is about data: do not let it spoil the others. */
        if (mode == 5 && ring == 0) in.flags |= FLAG_AC;
        go("%s%s ring %d", codes[i].name, modes[mode].name, ring);
      }
  }
  write_cr4(cr4);
}

static void flags(void) {
  static const u32 images[] = {0, 0x244fd7 & ~FLAG_TF, IOPL(3), FLAG_IF, 0xffff & ~FLAG_TF, FLAG_RF, 0x20000, FLAG_NT};
  for (int ring = 0; ring <= 3; ring += 3)
    for (int iopl = 0; iopl <= 3; iopl += 3)
      for (int i = 0; i < 8; i++) {
        start(popf_code, ring), in.flags |= IOPL(iopl), in.ax = images[i], go("POPF %x, ring %d, IOPL %d", (word)images[i], ring, iopl);
        start(popf_16, ring), in.flags |= IOPL(iopl), in.ax = images[i], go("POPFW %x, ring %d, IOPL %d", (word)images[i], ring, iopl);
      }
  start(pushf_code, 3), in.flags |= FLAG_AC | FLAG_ID | FLAG_IF | FLAG_NT | IOPL(2), go("PUSHF");
  for (int iopl = 0; iopl <= 3; iopl++) {
    start(cli_code, 3), in.flags |= FLAG_IF | IOPL(iopl), go("CLI, IOPL %d", iopl);
    start(sti_code, 3), in.flags |= IOPL(iopl), go("STI, IOPL %d", iopl);
  }
}

static void control_registers(void) {
  for (int number = 0; number < 16; number++)
    for (int ring = 0; ring <= 3; ring += 3) {
      move_code(0x20, number, number > 7 ? 4 : 0);
      start((void *)PAGE(0), ring);
      go("MOV from CR%d, ring %d", number, ring);
      if (ring == 3 || number == 1 || number > 4) {
        move_code(0x22, number, number > 7 ? 4 : 0);
        start((void *)PAGE(0), ring);
        go("MOV to CR%d, ring %d", number, ring);
      }
    }
  static const word cr0s[] = {0x80010033ul | 1ul << 32, 0xa0010033, 0xc0010033, 0xe0010033, 0x80010031, 0x8005003b, 0x80010033 | 0x1ff80000 | 0xffc0, 0x80010023};
  word cr0 = read_cr0(), cr4 = read_cr4(), cr3 = read_cr3();
  for (unsigned i = 0; i < sizeof cr0s / sizeof *cr0s; i++) {
    move_code(0x22, 0, 0);
    start((void *)PAGE(0), 0), in.ax = cr0s[i];
    go("CR0 %x", cr0s[i]);
    print(" is %x", read_cr0());
    write_cr0(cr0);
  }
  /* Without PAE and SMEP, which this code needs and cannot bear, and bits from 13 on at which TCG hangs. */
  static const u8 bits[] = {0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 16, 17, 18, 21};
  for (unsigned i = 0; i < sizeof bits; i++) {
    word bit = bits[i];
    move_code(0x22, 4, 0);
    start((void *)PAGE(0), 0), in.ax = cr4 ^ 1ul << bit;
    go("CR4 with bit %x changed", bit);
    print(" is %x", read_cr4());
    write_cr4(cr4);
  }
  move_code(0x22, 3, 0);
  start((void *)PAGE(0), 0), in.ax = cr3 | 0x18, go("CR3 with PWT and PCD");
  print(" is %x", read_cr3() & 0xfff);
  write_cr3(cr3);
  for (word value = 0; value < 20; value += 15) {
    move_code(0x22, 0, 4);
    start((void *)PAGE(0), 0), in.ax = value, go("CR8 %x", value);
    move_code(0x20, 0, 4);
    start((void *)PAGE(0), 0), go("CR8");
  }
  move_code(0x22, 0, 4);
  start((void *)PAGE(0), 0), in.ax = 16, go("CR8 16");
  start((void *)PAGE(0), 0), in.ax = 1ul << 63, go("CR8 with bit 63");
  start((void *)PAGE(0), 0), in.ax = 0, go("CR8 0");
  static const u16 words[] = {0xfff0, 0xffff, 0x000e, 1};
  for (int i = 0; i < 4; i++) {
    start(lmsw_code, 0), in.ax = words[i], go("LMSW %x", (word)words[i]);
    write_cr0(cr0);
  }
}

static void debug_registers(void) {
  for (int de = 0; de < 2; de++) {
    if (de) write_cr4(read_cr4() | CR4_DE);
    for (int number = 0; number < 16; number++)
      for (int ring = 0; ring <= 3; ring += 3) {
        move_code(0x21, number, number > 7 ? 4 : 0);
        start((void *)PAGE(0), ring), go("MOV from DR%d, ring %d, DE %d", number, ring, de);
        move_code(0x23, number, number > 7 ? 4 : 0);
        start((void *)PAGE(0), ring), go("MOV to DR%d, ring %d, DE %d", number, ring, de);
      }
  }
  write_cr4(read_cr4() & ~CR4_DE);
  static const word values[] = {0, 0xffffffff & ~0x20ff, 0x2ff, 1ul << 32, 1ul << 63, 0x1000, 0xd800};
  for (int number = 0; number < 8; number++) {
    if (number == 4 || number == 5) continue;
    for (int i = 0; i < 7; i++) {
      /* Breakpoints must not strike: the enable bits of DR7 stay clear. */
      word value = number == 7 ? values[i] & ~0xfful : values[i];
      move_code(0x23, number, 0);
      start((void *)PAGE(0), 0), in.ax = value, go("DR%d %x", number, value);
      move_code(0x21, number, 0);
      start((void *)PAGE(0), 0), go("DR%d", number);
    }
  }
  /* General detect: a fault on the next access. */
  asm volatile("mov %0, %%dr6; mov %1, %%dr7" : : "r"(0xffff0ff0ul), "r"(0x2400ul));
  move_code(0x21, 3, 0);
  show = SHOW_RF;
  start((void *)PAGE(0), 0), go("DR7.GD");
  show = 0;
  word dr6, dr7;
  asm volatile("mov %%dr6, %0; mov %%dr7, %1" : "=r"(dr6), "=r"(dr7));
  print(" DR6 %x DR7 %x", dr6, dr7);
  asm volatile("mov %0, %%dr6; mov %1, %%dr7" : : "r"(0xffff0ff0ul), "r"(0x400ul));
}

static void ports(void) {
  u8 *bitmap = (u8 *)tss + 0x68;
  static const u8 *const codes[] = {in_code, in_32, out_16};
  for (int code = 0; code < 3; code++) {
    bitmap[0x390 / 8] = 0xfe;
    start(codes[code], 3), in.dx = 0x390, go("port 390, code %d, first byte open", code);
    bitmap[0x390 / 8] = 0xf0;
    start(codes[code], 3), in.dx = 0x390, go("port 390, code %d, four bytes open", code);
    bitmap[0x390 / 8] = 0;
    start(codes[code], 3), in.dx = 0x397, go("port 397, code %d, the next one shut", code);
    bitmap[0x390 / 8] = 0xff;
    start(codes[code], 3), in.flags |= IOPL(3), in.dx = 0x390, go("port 390, code %d, IOPL 3", code);
    start(codes[code], 3), in.flags |= IOPL(2), in.dx = 0x390, go("port 390, code %d, IOPL 2", code);
  }
  tss[25] = 0x20f0 << 16;
  *((u8 *)tss + 0x20ff) = 0;
  *((u8 *)tss + 0x20fe) = 0;
  start(in_code, 3), in.dx = 0x77, go("the last byte of the TSS");
  start(in_code, 3), in.dx = 0x390, go("beyond the TSS");
  *((u8 *)tss + 0x20ff) = 0xff;
  tss[25] = 0x680000;
}

static void fpu(void) {
  static const u8 *const codes[] = {fnop_code, fwait_code, mmx_code, sse_code, ldmxcsr_code, fxsave_code, prefetch_code, movnti_code};
  word cr0 = read_cr0(), cr4 = read_cr4();
  *(u32 *)PAGE(8) = 0x1f80;
  for (int bits = 0; bits < 8; bits++) {
    write_cr0((cr0 & ~(word)(CR0_MP | CR0_EM | CR0_TS)) | bits << 1);
    for (int fxsr = 0; fxsr < 2; fxsr++) {
      if (!fxsr) write_cr4(cr4 & ~0x200ul);
      for (int code = 0; code < 8; code++) {
        start(codes[code], 3);
        *(u32 *)PAGE(8) = 0x1f80;
        go("FPU code %d, MP EM TS %d, OSFXSR %d", code, bits, fxsr);
      }
      write_cr4(cr4);
    }
  }
  write_cr0(cr0);
  start(ldmxcsr_code, 3), *(u32 *)PAGE(8) = 0x10000, go("MXCSR with a reserved bit");
  start(fxsave_code, 3), in.si += 8, go("FXSAVE, misaligned");
}

CODE(read_2, "mov (%rsi), %ax");
CODE(read_8, "mov (%rsi), %rax");
CODE(read_byte, "mov (%rsi), %al");
CODE(push_16, "push %rax");
CODE(movups_code, "movups (%rsi), %xmm0");
CODE(movaps_code, "movaps (%rsi), %xmm0");
CODE(movlps_code, "movlps (%rsi), %xmm0");
CODE(cmpxchg16b_code, "cmpxchg16b (%rsi)");
CODE(movs_code, "movsl");
CODE(lods_rep, "rep lodsl");
CODE(enter_code, "enter $0, $0");

CODE(sse_divide, "ldmxcsr (%rsi)\nxorps %xmm0, %xmm0\nmov $1, %eax\ncvtsi2ss %eax, %xmm1\ndivss %xmm0, %xmm1\nstmxcsr 4(%rsi)\nmov 4(%rsi), %ebx");
CODE(x87_divide, "fninit\nfldcw (%rsi)\nfld1\nfldz\nfdivrp\nfnstsw %ax\nnop\nfwait\nnop");
CODE(x87_divide_store, "fninit\nfldcw (%rsi)\nfld1\nfldz\nfdivrp\nfst 8(%rsi)");
CODE(x87_no_wait, "fninit\nfldcw (%rsi)\nfld1\nfldz\nfdivrp\nfnstcw 8(%rsi)\nfnclex\nfwait");
CODE(mmx_after, "fninit\nfldcw (%rsi)\nfld1\nfldz\nfdivrp\npxor %mm0, %mm0");

/* Unmasked floating-point exceptions. */
static void fpu_exceptions(void) {
  word cr4 = read_cr4();
  for (int on = 0; on < 2; on++) {
    write_cr4(on ? cr4 : cr4 & ~0x400ul); /* OSXMMEXCPT */
    for (int ring = 0; ring <= 3; ring += 3) {
      start(sse_divide, ring), *(u32 *)PAGE(8) = 0x1d80, go("SSE division by zero, OSXMMEXCPT %d, ring %d", on, ring);
      start(sse_divide, ring), *(u32 *)PAGE(8) = 0x1f80, go("SSE division by zero, masked, OSXMMEXCPT %d, ring %d", on, ring);
    }
  }
  write_cr4(cr4);
  static const u8 *const codes[] = {x87_divide, x87_divide_store, x87_no_wait, mmx_after};
  for (int code = 0; code < 4; code++)
    for (int masked = 0; masked < 2; masked++) {
      start(codes[code], 3), *(u16 *)PAGE(8) = masked ? 0x37f : 0x37b, go("x87 division by zero, code %d, masked %d", code, masked);
      asm volatile("fninit");
    }
}

static void alignment(void) {
  write_cr0(read_cr0() | CR0_AM);
  for (int i = 0; i < 4096; i++) ((volatile u8 *)PAGE(8))[i] = i;
  static const u8 *const codes[] = {read_2, read_8, read_byte, push_16, movups_code, movaps_code, movlps_code, cmpxchg16b_code, movs_code, lods_rep, enter_code};
  for (int code = 0; code < 11; code++)
    for (int offset = 1; offset <= 8; offset *= 2)
      for (int ring = 0; ring <= 3; ring += 3) {
        start(codes[code], ring);
        in.flags |= FLAG_AC;
        in.si += offset;
        in.di = PAGE(8) + 256 + offset;
        in.sp -= offset;
        in.cx = 2;
        go("alignment, code %d, offset %d, ring %d", code, offset, ring);
      }
  /* A page fault and misalignment: which is first? */
  start(read_8, 3), in.flags |= FLAG_AC, in.si = PAGE(9) + 1, go("alignment, page absent");
  start(read_8, 3), in.flags |= FLAG_AC, in.si = (1ul << 47) + 1, go("alignment, address not canonical");
  start(read_8, 3), in.flags |= FLAG_AC, in.si = PAGE(9) - 3, go("alignment, next page absent");
  write_cr0(read_cr0() & ~(word)CR0_AM);
  start(read_8, 3), in.flags |= FLAG_AC, in.si += 1, go("alignment, AM clear");
}

static void tables(void) {
  start(lgdt_code, 0), in.si = PAGE(9) - 4, go("LGDT across pages");
  start(sgdt_code, 0), in.si = PAGE(9) - 10, go("SGDT up to a page's end");
  start(sgdt_code, 0), in.si = PAGE(9) - 4, go("SGDT across pages");
  start(invlpg_code, 0), in.si = 1ul << 47, go("INVLPG, address not canonical");
  static const word values[][2] = {{0, 0}, {1, 0}, {3, 0}, {7, 0}, {2, 0}, {3, 1}, {0x203, 0}};
  write_cr4(read_cr4() | CR4_OSXSAVE);
  for (int i = 0; i < 7; i++)
    start(xsetbv_code, 0), in.ax = values[i][0], in.dx = values[i][1], go("XSETBV %x:%x", values[i][1], values[i][0]);
  start(xsetbv_code, 0), in.ax = 1, in.cx = 1, go("XSETBV of XCR1");
  start(xgetbv_code, 0), in.cx = 2, go("XGETBV of XCR2");
  write_cr4(read_cr4() & ~CR4_OSXSAVE);
}

/* The last ones: TCG does not refuse what leaves the kernel without its pages. */
static void fatal(void) {
  static const struct __attribute__((packed)) {
    u16 limit;
    u64 base;
  } bad = {0xffff, 1ul << 47};
  start(lgdt_code, 0), in.si = (word)&bad, go("LGDT, base not canonical");
  start(lidt_code, 0), in.si = (word)&bad, go("LIDT, base not canonical");
  static const word cr0s[] = {0x80010032, 0x10033};
  static const word cr3s[] = {1ul << 39, 1ul << 51, 1ul << 52, 1ul << 63};
  for (int i = 0; i < 4; i++) {
    move_code(0x22, 3, 0);
    start((void *)PAGE(0), 0), in.ax = read_cr3() | cr3s[i], go("CR3 with %x", cr3s[i]);
  }
  for (int i = 0; i < 2; i++) {
    move_code(0x22, 0, 0);
    start((void *)PAGE(0), 0), in.ax = cr0s[i], go("CR0 %x", cr0s[i]);
  }
  move_code(0x22, 4, 0);
  start((void *)PAGE(0), 0), in.ax = read_cr4() & ~CR4_PAE, go("CR4 without PAE");
}

int main(void) {
  map(0, SPARE, P | W | U);
  map(8, SPARE + 0x8000, P | W | U);
  map(9, 0, 0);
  privileged();
  flags();
  control_registers();
  debug_registers();
  ports();
  fpu();
  fpu_exceptions();
  alignment();
  tables();
  fatal();
  return 0;
}
