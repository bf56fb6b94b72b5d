/* Real mode, and the ways in and out (SDM Vol. 3A chapters 9.9, 20). */
#include "guest.h"

CODE16(nothing, "nop");
CODE16(divide, "xor %dx, %dx\nxor %cx, %cx\ndiv %cx");
CODE16(int_60, "int $0x60");
CODE16(int_1, ".byte 0xf1");
CODE16(into_code, "mov $0x7fff, %ax\ninc %ax\ninto");
CODE16(bound_code, "bound %ax, (%si)");
CODE16(undefined, "ud2");
CODE16(read_word, "mov (%si), %ax");
CODE16(read_long, "mov (%si), %eax");
CODE16(read_high, "addr32 mov (%esi), %al");
CODE16(write_stack, "mov %ax, %ss:(%si)");
CODE16(bp_word, "mov %si, %bp\nmov (%bp), %ax");
CODE16(push_word, "push %ax");
CODE16(push_long, "push %eax");
CODE16(pop_word, "pop %ax");
CODE16(call_near, "call 1f\n1: nop");
CODE16(pusha_code, "pusha");
CODE16(enter_code, "enter $8, $2");
CODE16(strings, "mov $4, %cx\nmov $0xfffe, %di\nrep stosb");
CODE16(strings_across, "mov $4, %cx\nmov $0xfffd, %di\nrep stosw");
CODE16(move_strings, "mov $0xfffe, %si\nmov $4, %cx\nrep movsb");
CODE16(jump_far, "ljmp $0x1000, $1f - jump_far\n1: mov %cs, %ax");
CODE16(jump_other, "ljmp $0x0fff, $1f - jump_other + 16\n1: mov %cs, %ax");
CODE16(call_far, "lcall $0x1000, $1f - call_far\n1: pop %ax\npop %bx");
CODE16(return_far, "push %cs\npush $1f - return_far\nlret $4\n1: nop");
CODE16(return_interrupt, "push $0x7fd7\npush %cs\npush $1f - return_interrupt\niret\n1: pushf\npop %ax\npush $2\npopf");
CODE16(return_interrupt_long, "pushl $0x244ed7\npushl $0x1000\npushl $1f - return_interrupt_long\niretl\n1: pushfl\npop %eax\npushl $2\npopfl");
CODE16(flags_code, "push $0x7ed5\npopf\npushf\npop %ax\npush $2\npopf");
CODE16(flags_long, "pushl $0x3f7ed5\npopfl\npushfl\npop %eax\npushl $2\npopfl");
CODE16(segments, "mov $0x5000, %ax\nmov %ax, %fs\nmov $0xffff, %ax\nmov %ax, %gs\nmov %fs, %bx\nmov %gs, %cx\nmov %gs:0x10, %al");
CODE16(load_pointers, "les (%si), %ax\nlfs (%si), %cx\nmov %es, %dx\nmov %fs, %bx");
CODE16(tables, "sgdt (%si)\nmov (%si), %ax\nsidt (%si)\nmov (%si), %bx\nmov 2(%si), %ecx");
CODE16(machine_word, "smsw %ax\nand $0x0f, %ax");
CODE16(control, "mov %cr0, %eax\nmov %eax, %cr0\nmov %cr4, %ebx\nclts");
CODE16(sldt_code, "sldt %ax");
CODE16(str_code, "str %ax");
CODE16(lldt_code, "lldt %ax");
CODE16(ltr_code, "ltr %ax");
CODE16(verr_code, "verr %ax");
CODE16(lar_code, "lar %ax, %bx");
CODE16(lsl_code, "lsl %ax, %bx");
CODE16(arpl_code, "arpl %ax, %bx");
CODE16(sysenter_code, "sysenter");
CODE16(sysexit_code, "sysexit");
CODE16(syscall_code, "syscall");
CODE16(sysret_code, "sysret");
CODE16(lock_nop, ".byte 0xf0, 0x90");
CODE16(mov_cs, ".byte 0x8e, 0xc8");
CODE16(step, "mov $1, %ax\nmov $2, %ax");
CODE16(sse_code, "mov %cr4, %eax\nor $0x200, %ax\nmov %eax, %cr4\npxor %xmm0, %xmm0\nand $~0x200, %ax\nmov %eax, %cr4");
CODE16(rdmsr_code, "mov $0x10, %ecx\nrdmsr\nxor %eax, %eax\nxor %edx, %edx");
CODE16(cpuid_code, "xor %eax, %eax\ncpuid");
CODE16(wrap_address, "mov $0xfff0, %bx\nmov $0x20, %si\nmov (%bx,%si), %ax");
CODE16(wrap_displacement, "mov $0xfff0, %bx\nmov 0x30(%bx), %ax");
CODE16(loops, "mov $3, %cx\n1: inc %ax\nloop 1b\njcxz 2f\nnop\n2: mov $0x10002, %ecx\n3: inc %bx\naddr32 loop 3b");
CODE16(xlat_code, "mov $0xfff0, %bx\nmov $0x20, %al\nxlat");
CODE16(bcd_code, "mov $0x15, %al\nadd $0x27, %al\ndaa\nmov $0x105, %bx\nxchg %ax, %bx\naam\naad");
CODE16(limit_jump, "mov $0xffff, %ax\njmp *%ax");
CODE16(limit_long, "mov $0x12345, %eax\njmpl *%eax");
/* Big segments: limits from protected mode stay. */
CODE16(unreal, "mov %cr0, %eax\nor $1, %al\nmov %eax, %cr0\nmov $0x10, %bx\nmov %bx, %fs\nand $0xfe, %al\nmov %eax, %cr0\nmov $0x100000, %esi\naddr32 mov %fs:(%esi), %ecx\nxor %ecx, %ecx\nmov $0x5000, %bx\nmov %bx, %fs\naddr32 mov %fs:(%esi), %cl");
CODE16(protected_16, "mov %cr0, %eax\nor $1, %al\nmov %eax, %cr0\nmov %ds, %bx\nmov %ss, %cx\nmov %cs, %dx\nmov (%si), %si\nand $0xfe, %al\nmov %eax, %cr0");
CODE16(lmsw_code, "smsw %ax\nor $1, %ax\nlmsw %ax\nsmsw %bx\nxor $1, %ax\nlmsw %ax\nsmsw %cx\nmov %cr0, %edx\nand $0xfe, %dl\nmov %edx, %cr0\nxor %edx, %edx");
CODE16(to_32, "mov %cr0, %eax\nor $1, %al\nmov %eax, %cr0\nljmpl $8, $1f\n.code32\n1: mov $0x10, %eax\nmov %eax, %fs\nmov %fs:0x100000, %ebx\nmov %cs, %ecx\nljmp $0x48, $2f - to_32\n.code16\n2: mov %cr0, %eax\nand $0xfe, %al\nmov %eax, %cr0\nljmp $0x1000, $3f - to_32\n3: mov %cs, %dx\nxor %ebx, %ebx");

static u8 *const ds = (u8 *)(REAL_DS * 16);
static u8 *const es = (u8 *)(REAL_ES * 16);

static void start(const void *code) {
  real(code);
  in.si = 0x100;
}

int main(void) {
  for (int i = 0; i < 0x10000; i++) ds[i] = i * 5 + (i >> 8), es[i] = 0;
  static const struct {
    const char *name;
    const u8 *code;
  } plain[] = {{"nothing", nothing}, {"DIV by 0", divide}, {"INT 60", int_60}, {"INT1", int_1}, {"INTO", into_code}, {"UD2", undefined}, {"CALL", call_near}, {"PUSHA", pusha_code}, {"ENTER", enter_code}, {"REP STOSB, DI wraps around", strings}, {"REP STOSW across the end", strings_across}, {"REP MOVSB, SI wraps around", move_strings}, {"far JMP", jump_far}, {"far JMP to another segment", jump_other}, {"far CALL", call_far}, {"far RET", return_far}, {"IRET", return_interrupt}, {"IRETD", return_interrupt_long}, {"POPF", flags_code}, {"POPFD", flags_long}, {"segment registers", segments}, {"LES, LFS", load_pointers}, {"SMSW", machine_word}, {"MOV CR0", control}, {"SLDT", sldt_code}, {"STR", str_code}, {"LLDT", lldt_code}, {"LTR", ltr_code}, {"VERR", verr_code}, {"LAR", lar_code}, {"LSL", lsl_code}, {"ARPL", arpl_code}, {"SYSENTER", sysenter_code}, {"SYSEXIT", sysexit_code}, {"SYSCALL", syscall_code}, {"SYSRET", sysret_code}, {"LOCK NOP", lock_nop}, {"MOV to CS", mov_cs}, {"SSE", sse_code}, {"RDMSR", rdmsr_code}, {"CPUID", cpuid_code}, {"BX + SI wraps around", wrap_address}, {"BX + displacement wraps around", wrap_displacement}, {"LOOP, JCXZ", loops}, {"XLAT", xlat_code}, {"BCD", bcd_code}, {"unreal mode", unreal}, {"16-bit protected mode", protected_16}, {"LMSW", lmsw_code}, {"32-bit protected mode and back", to_32}};
  show = SHOW_SEGMENTS;
  for (unsigned i = 0; i < sizeof plain / sizeof *plain; i++) {
    start(plain[i].code), go("%s", plain[i].name);
    print(" es %x %x", ((word *)es)[0], ((word *)es)[0x3fff]);
  }
  show = 0;
  start(tables), go("SGDT, SIDT");
  static const struct {
    const char *name;
    const u8 *code;
  } edges[] = {{"word", read_word}, {"doubleword", read_long}, {"SS word", write_stack}, {"BP word", bp_word}};
  for (int i = 0; i < 4; i++)
    for (word offset = 0xfffc; offset < 0x10000; offset++) start(edges[i].code), in.si = offset, go("%s at %x", edges[i].name, offset);
  start(read_high), in.si = 0x10000, go("byte at 10000");
  start(read_high), in.si = 0xffff, go("byte at ffff");
  static const struct {
    const char *name;
    const u8 *code;
  } stacks[] = {{"PUSH", push_word}, {"PUSH 4", push_long}, {"POP", pop_word}, {"CALL", call_near}, {"INT", int_60}, {"ENTER", enter_code}};
  for (int i = 0; i < 6; i++)
    for (word sp = 0; sp < 6; sp += 2) start(stacks[i].code), in.sp = sp, go("%s, SP %x", stacks[i].name, sp);
  start(pop_word), in.sp = 0xfffe, go("POP, SP fffe");
  *(u16 *)(ds + 0x100) = 5, *(u16 *)(ds + 0x102) = 9;
  for (word value = 4; value < 11; value += 3) start(bound_code), in.ax = value, go("BOUND %x", value);
  show = SHOW_HANDLER;
  start(int_60), in.flags = 0x7ed7 & ~0x300u, go("INT 60, flags");
  start(step), in.flags |= FLAG_TF, go("single step");
  show = 0;
  *(u8 *)0x1ffff = 0xcc;
  *(u8 *)0x22345 = 0xcc;
  start(limit_long), go("JMP beyond the limit");
  start(limit_jump), go("JMP to the last byte");
  return 0;
}
