/* The processor's mode: descriptor tables, segments, debug registers, callbacks, exceptions. */
#include "xen.h"

static u64 gdt_entry(void) {
  return PICK(0ul, 0x00cffb000000fffeul, 0x00aff9000000fffeul, 0x00cf93000000fffeul, 0x0000e9000000fffeul,
              0x0000ec00e0330000ul, 0x00008b0000000066ul, 0x0000820000000000ul, 0x0000ec0000330000ul);
}

static void divide(u64 a, u64 b) { asm volatile("div %0" : : "r"(b), "a"(a), "d"(0ul) : "cc"); }
static void undefined(u64 a, u64 b) { asm volatile("ud2"); }
static void breakpoint(u64 a, u64 b) { asm volatile("int3"); }
static void software(u64 a, u64 b) { asm volatile("int $0x80"); }
static void privileged(u64 a, u64 b) { asm volatile("lidt (%0)" : : "r"(a)); }
static void halt(u64 a, u64 b) { asm volatile("invlpg (%0)" : : "r"(a)); }
static void read(u64 a, u64 b) { *(volatile u64 *)a; }
static void write(u64 a, u64 b) { *(volatile u64 *)a = b; }
static void call(u64 a, u64 b) { ((void (*)(void))a)(); }
static void load_es(u64 a, u64 b) { asm volatile("mov %0, %%es" : : "r"((u32)a)); }
static void load_fs(u64 a, u64 b) { asm volatile("mov %0, %%fs" : : "r"((u32)a)); }
static void step(u64 a, u64 b) {
  asm volatile("pushf; orl $0x100, (%%rsp); popf; nop; nop" : : : "cc", "memory");
}

static void trap_step(void) {
  static void (*const functions[])(u64, u64) = {divide, undefined, breakpoint, software, privileged, halt,
                                                 read, write, call, load_es, load_fs, step, read};
  void (*function)(u64, u64) = functions[below(sizeof functions / sizeof *functions)];
  u64 a = PICK(0x1000ul, 0x7fffffffe000ul, 0x800000000000ul, 0xffff87fffffff000ul, 0xffff880000000000ul,
               0xffffffffc0000000ul);
  if (function == load_es || function == load_fs) a = PICK(0ul, 0xe02bul, 0xe033ul, 0xe008ul, 0x10ul, 0x13ul, 0x17ul, 0x0ful);
  /* Processors differ in where a jump to no address faults. */
  if (function == call && a == 0x800000000000ul) a = 0x1000;
  if (attempt(function, a, 0)) note_trap("trap", function);
  else NOTE("no trap", function == load_es ? a : 0);
  asm volatile("mov %0, %%es; mov %0, %%fs" : : "r"(0));
}

static void debug_step(void) {
  u32 index = below(9);
  u64 value = PICK(0ul, 0x1000ul, 0xffff0ff0ul, 0x400ul, 0x700ul, 0x2000ul, 0xffff800000000000ul, 0xffff880000000000ul,
                   0x800000000000ul, 1ul << 32);
  /* No breakpoint comes true: none is enabled. */
  if (index == 7) value &= ~0xfful;
  s64 set = H2(SET_DEBUGREG, index, value);
  NOTE("debugreg", index, set, H1(GET_DEBUGREG, index));
}

void cpu_step(void) {
  int frame = below(FRAMES);
  switch (below(9)) {
    case 0: {
      u64 list[2] = {frames[frame], frames[below(FRAMES)]};
      u32 entries = PICK(0u, 1u, 16u, 512u, 513u, 1024u, 7169u);
      NOTE("set_gdt", normal(list[0] * PAGE) / PAGE, normal(list[1] * PAGE) / PAGE, entries, H2(SET_GDT, list, entries));
      return;
    }
    case 1: {
      u64 slot = below(4);
      u64 descriptor = gdt_entry();
      s64 answer = H2(UPDATE_DESCRIPTOR, frames[frame] * PAGE + 8 * slot + (below(10) == 0), descriptor);
      NOTE("update_descriptor", frame + 1, answer, normal(((u64 *)pool[frame])[slot]));
      return;
    }
    case 2:
      return debug_step();
    case 3: {
      u32 which = below(5);
      u64 base = PICK(0ul, 0x1000ul, 0x7fffffffe000ul, 0x800000000000ul, 0xffff800000000000ul);
      NOTE("segment base", which, which == 3 ? 0 : H2(SET_SEGMENT_BASE, which, base));
      return;
    }
    case 4: {
      struct { u16 type, flags; u64 address; } op = {below(9), below(2), PICK(0ul, 0xffffffff80100000ul, 0x800000000000ul)};
      /* Events stay masked; NMIs do not come. */
      NOTE("callback", op.type, H2(CALLBACK_OP, below(8) == 0, &op));
      return;
    }
    case 5: {
      u32 type = PICK(0u, 1u, 3u, 5u, 6u, 33u, 64u), cmd = below(3);
      NOTE("vm_assist", type, cmd, H2(VM_ASSIST, cmd, type));
      return;
    }
    case 6: {
      static struct { u64 op, result, args[6]; } calls[3];
      for (int i = 0; i < 3; i++) {
        calls[i].op = PICK(3ul, 5ul, 8ul, 13ul, 25ul, 17ul, 60ul);
        calls[i].args[0] = calls[i].op == 8 ? 0 : calls[i].op == 3 ? 0xe02b : below(6);
        calls[i].args[1] = calls[i].op == 25 ? (calls[i].args[0] == 3 ? 0 : 0x2000) : 0;
        calls[i].result = 77;
        if (calls[i].op == 17) calls[i].args[0] = 7;
      }
      s64 answer = H2(MULTICALL, calls, 3);
      NOTE("multicall", answer, calls[0].result, calls[1].result, calls[2].result);
      H1(FPU_TASKSWITCH, 0);
      return;
    }
    default:
      return trap_step();
  }
}

void cpu_end(void) {
  H2(SET_GDT, frames, 0);
  H2(VM_ASSIST, 0, 2);
  for (u32 i = 0; i < 8; i++)
    if (i != 4 && i != 5) H2(SET_DEBUGREG, i, i == 6 ? 0xffff0ff0 : i == 7 ? 0x400 : 0);
}
