/* Exceptions that the guest's kernel takes, as Xen gives them to it. */
#include "xen.h"

struct trap trap;
struct trap_info { u8 vector, flags; u16 cs; u64 address; };
struct shared_info { struct { u8 pending, mask; u64 selector, cr2; u8 rest[40]; } vcpu[32]; };
extern u8 stubs[], shared_page[];
#define shared ((volatile struct shared_info *)shared_page)

void on_trap(u64 *frame) {
  static const u32 with_error = 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17;
  trap.vector = frame[0];
  trap.rcx = frame[1];
  trap.r11 = frame[2];
  trap.at = (u64)frame;
  frame += trap.vector == 0x101 ? 7 : 3;
  trap.error = trap.vector < 32 && with_error >> trap.vector & 1 ? *frame++ : 0;
  trap.rip = frame[0];
  trap.cs = frame[1];
  trap.rflags = frame[2];
  trap.rsp = frame[3];
  trap.ss = frame[4];
  trap.cr2 = shared->vcpu[0].cr2;
  trap.mask = shared->vcpu[0].mask;
  shared->vcpu[0].mask = 1;
}

void traps_init(void) {
  static struct trap_info table[257];
  for (int i = 0; i < 256; i++) {
    table[i].vector = i;
    table[i].flags = i == 3 || i == 4 || i == 0x80 ? 3 : i & 1 ? 4 : 0;
    table[i].cs = 0xe033;
    table[i].address = (u64)stubs + 16 * i;
  }
  if (H1(SET_TRAP_TABLE, table)) print("set_trap_table failed\n");
}

/* Addresses in the code are told from the function's start. */
void note_trap(const char *what, void (*function)(u64, u64)) {
  NOTE(what, trap.vector, trap.error, trap.rip - (u64)function, trap.cs, trap.rflags & 0xfe7fff, trap.rsp & 15, trap.ss,
       trap.mask, trap.vector == 14 ? trap.cr2 : 0);
}
