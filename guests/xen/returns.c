/* User code of 32 bits, LDTs whose pages are taken when they are used, callbacks of all kinds, handlers in bad segments. */
#include "xen.h"

extern void enter_frame(void *frame);
extern u8 callbacks[], stubs[], low_start[], low_end[], low_enter[], low_enter_end[];
extern u64 entry_arguments[2];
static u8 trap_stack[PAGE] __attribute__((aligned(16)));
static u8 code_page[PAGE] __attribute__((aligned(4096))), stack_page[PAGE] __attribute__((aligned(4096)));
static u64 tables[3][PAGE / 8] __attribute__((aligned(4096)));
static u64 root;

/* Where 32-bit code can be: a page of it, and one for its stack. */
#define LOW 0x400000ul
#define ENTER (PAGE - 32)
#define STACK_END (LOW + 2 * PAGE)
#define PIECES ((u32)(low_end - low_start) / 16)

static void set_callback(u16 type, u16 flags, u64 address) {
  struct { u16 type, flags; u64 address; } op = {type, flags, address};
  H2(CALLBACK_OP, 0, &op);
}

void returns_init(void) {
  for (u32 i = 0; i < PAGE && low_start + i < low_end; i++) code_page[i] = low_start[i];
  for (u32 i = 0; low_enter + i < low_enter_end; i++) code_page[ENTER + i] = low_enter[i];
  tables[0][0] = mfn_of(code_page) * PAGE | 5;
  tables[0][1] = mfn_of(stack_page) * PAGE | 7;
  tables[1][LOW >> 21] = mfn_of(tables[0]) * PAGE | 7;
  tables[2][0] = mfn_of(tables[1]) * PAGE | 7;
  for (int i = 0; i < 3; i++) map(tables[i], mfn_of(tables[i]) * PAGE | 1);
  root = mfn_of((void *)start_info->pt_base);
  struct { u64 ptr, val; } update = {root * PAGE, mfn_of(tables[2]) * PAGE | 7};
  NOTE("low", H4(MMU_UPDATE, &update, 1, 0, DOMID_SELF));
}

static s64 set_ldt(u64 base, u64 entries) {
  struct { u32 cmd, pad; u64 arg1, arg2; } op = {13, 0, base, entries};
  return H4(MMUEXT_OP, &op, 1, 0, DOMID_SELF);
}

static u64 descriptor(void) {
  return PICK(0ul, 0x00cffb000000fffful, 0x00affb000000fffful, 0x00cff3000000fffful, 0x00cf73000000fffful, 0x00cff9000000fffful,
              0x00cff1000000fffful, 0x00cfff000000fffful);
}
static u64 selector(void) {
  return PICK(0x7ul, 0xful, 0x17ul, 0x1ful, 0x1007ul, 0x2007ul, 0x3ul, 0x13ul, 0xe023ul, 0xe02bul, 0xe033ul, 0xe008ul, 0xful, 0x17ul);
}

/* QEMU checks no limits, nor null selectors where they are used, and adds bases to 64-bit addresses. Pool pages can be tables and descriptors; scratch ones are writable. */
static void ldt_step(void) {
  u64 base = PICK((u64)pool, (u64)pool, (u64)(pool + below(FRAMES - 2)), (u64)scratch, 0x1000ul, 0x1001ul, 1ul << 47, 0xffff800000000000ul);
  u64 entries = PICK(4ul, 512ul, 513ul, 1024ul, 1025ul, 8192ul, 8193ul, 0ul);
  NOTE("set_ldt", base - (u64)pool < sizeof pool ? (base - (u64)pool) / PAGE : 99, entries, set_ldt(base, entries));
}

static void descriptor_step(void) {
  u32 frame = below(4);
  u64 slot = below(4), what = descriptor();
  /* A stack that is not present: #NP instead of #SS from QEMU's IRET (SDM Vol. 2, IRET). */
  if (slot > 1 && !(what >> 47 & 1)) what = 0x00cff3000000ffff;
  s64 answer = H2(UPDATE_DESCRIPTOR, frames[frame] * PAGE + 8 * slot, what);
  NOTE("descriptor", frame, slot, answer, normal(((u64 *)pool[frame])[slot]));
}

static void enter(u64 frame, u64 b) { enter_frame((void *)frame); }

static void excursion(void) {
  u32 piece = below(PIECES);
  u64 code = LOW + 16 * piece;
  struct { u64 rax, r11, rcx, flags, rip, cs, rflags, rsp, ss; } frame = {
    0x11, 0x22, 0x33, PICK(0, 0, 0, 0x100), code, PICK(0xe023ul, 0xe023ul, 0xe033ul, 0xful, 0x7ul, 0x17ul),
    PICK(0x202ul, 2ul, 0x302ul, 0xad7ul), STACK_END, PICK(0xe02bul, 0xe02bul, 0xe02bul, 0x1ful, 0x17ul)};
  if (below(12) == 0) frame.rip = 0x1000;
  entry_arguments[0] = PICK(LOW, STACK_END - 8, 0x1000ul, 0xfffffff0ul);
  entry_arguments[1] = selector();
  if (piece == PIECES - 1 && entry_arguments[1] == 3) entry_arguments[1] = 0xe02b;
  u32 masks = below(2), without = below(4) == 0, handler = below(4);
  set_user_root(root);
  H2(STACK_SWITCH, PICK(0xe02bul, 0ul, 0x10ul), trap_stack + sizeof trap_stack);
  for (u16 type = 0; type < 3; type++) set_callback(type, masks, (u64)callbacks + 16 * type);
  set_callback(7, below(2), without ? 0 : (u64)callbacks + 16 * 3);
  set_callback(5, below(2), (u64)callbacks + 16 * 4);
  struct trap_info bad[2] = {{PICK(3, 6, 0x80), below(8), PICK(0xe02b, 0xe008, 0x13, 0x10, 0x0f, 0xe023), 0}, {0}};
  bad[0].address = (u64)stubs + 16 * bad[0].vector;
  if (handler == 0) NOTE("bad handler", bad[0].vector, bad[0].cs, H1(SET_TRAP_TABLE, bad));
  quiet();
  attempt(enter, (u64)&frame, 0);
  quiet();
  NOTE("excursion", piece, frame.cs, frame.ss, frame.rflags, frame.flags, frame.rip - LOW, entry_arguments[0], entry_arguments[1], masks, without);
  u64 rip = trap.rip - (u64)stubs < 4 * PAGE ? trap.rip - (u64)stubs : trap.rip - LOW < 2 * PAGE ? trap.rip - LOW : trap.rip;
  u64 sp = trap.rsp - LOW <= 2 * PAGE ? trap.rsp - LOW : trap.rsp >= VIRT_BASE ? trap.rsp & 15 : trap.rsp;
  NOTE("ends", trap.vector, trap.error, rip, trap.cs, trap.rflags & 0xfe7fff, sp, trap.ss, trap.mask,
       trap.vector != 14 ? 0 : trap.cr2 - (u64)pool < sizeof pool ? 0x100000 + trap.cr2 - (u64)pool : trap.cr2 >= VIRT_BASE ? 1 : trap.cr2);
  NOTE("at", (u64)trap_stack + sizeof trap_stack - trap.at < PAGE ? (u64)trap_stack + sizeof trap_stack - trap.at : 0);
  if (trap.vector == 0x103 || trap.vector == 0x102) NOTE("syscall", trap.rcx - LOW, trap.r11 & 0xfe7fff);
  asm volatile("mov %0, %%es; mov %0, %%ds; mov %0, %%fs; mov %0, %%gs" : : "r"(0));
  if (handler == 0) traps_init();
}

/* SYSENTER: with and without an entry point, which may want events masked; and one that waits. */
static void enter_step(void) {
  struct { u64 rax, r11, rcx, flags, rip, cs, rflags, rsp, ss; } frame = {
    0x11, 0x22, 0x33, PICK(0, 0, 0x100), LOW + ENTER, PICK(0xe023ul, 0xe033ul, 0xful, 0x17ul),
    PICK(0x202ul, 2ul, 0x4202ul, 0x3202ul, 0xad7ul, 0x240202ul), STACK_END, PICK(0xe02bul, 0xe02bul, 0x1ful)};
  u32 masks = below(2), without = below(3) == 0, event = below(4) == 0;
  set_user_root(root);
  H2(STACK_SWITCH, 0xe02b, trap_stack + sizeof trap_stack);
  set_callback(0, below(2), (u64)callbacks);
  set_callback(5, masks, without ? 0 : (u64)callbacks + 16 * 4);
  quiet();
  if (event) raise_port(other_port[0]);
  attempt(enter, (u64)&frame, 0);
  quiet();
  NOTE("sysenter", frame.cs, frame.ss, frame.rflags, frame.flags, masks, without, event);
  u64 from = trap.rip - (u64)stubs < 5 * PAGE ? trap.rip - (u64)stubs : trap.rip - LOW < PAGE ? trap.rip - LOW : trap.rip;
  NOTE("ends", trap.vector, trap.error, from, trap.cs, trap.rflags & 0xfe7fff, trap.rsp >= VIRT_BASE ? trap.rsp & 15 : trap.rsp, trap.ss, trap.mask);
  NOTE("at", (u64)trap_stack + sizeof trap_stack - trap.at < PAGE ? (u64)trap_stack + sizeof trap_stack - trap.at : 0);
}

/* The user's GS by its selector, which is null if it cannot be loaded. */
static void selector_step(void) {
  u64 base = selector() | PICK(0ul, 0x10000ul);
  s64 answer = H2(SET_SEGMENT_BASE, 3, base);
  u32 now;
  asm volatile("mov %%gs, %0" : "=r"(now));
  NOTE("GS", base, answer, now);
  H2(SET_SEGMENT_BASE, 3, 0);
}

/* On a processor of Intel's. */
void enter_steps(void) {
  switch (below(8)) {
    case 0: return ldt_step();
    case 1: return descriptor_step();
    case 2: return selector_step();
    default: return enter_step();
  }
}

static void note_types(void) {
  for (int i = 0; i < 4; i++) {
    s64 answer = map(scratch[0], frames[i] * PAGE | 3);
    map(scratch[0], mfn_of(scratch[0]) * PAGE | 3);
    NOTE("writable", i, answer);
  }
}

void returns_step(void) {
  switch (below(10)) {
    case 0: case 1: return ldt_step();
    case 2: case 3: return descriptor_step();
    case 4: return note_types();
    default: return excursion();
  }
}

void returns_end(void) {
  set_ldt(0, 0);
  set_user_root(0);
  traps_init();
  /* A descriptor would be an entry that names what is no memory, which dom0 may map. */
  for (u32 frame = 0; frame < 4; frame++)
    for (u32 slot = 0; slot < 4; slot++) NOTE("last", H2(UPDATE_DESCRIPTOR, frames[frame] * PAGE + 8 * slot, 0));
}
