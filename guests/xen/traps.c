/* Exceptions that the guest's kernel takes, as Xen gives them to it. */
#include "xen.h"

struct trap trap;
struct trap_info trap_table[257];
extern u8 stubs[];
extern void *resume;

void on_trap(u64 *frame) {
  static const u32 with_error = 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17;
  trap.vector = frame[0];
  trap.rcx = frame[1];
  trap.r11 = frame[2];
  trap.at = (u64)frame;
  frame += 3;
  if (trap.vector == 0x101)
    for (int i = 0; i < 4; i++) trap.selectors[i] = *frame++;
  trap.error = trap.vector < 32 && with_error >> trap.vector & 1 ? *frame++ : 0;
  trap.rip = frame[0];
  trap.cs = frame[1];
  trap.rflags = frame[2];
  trap.rsp = frame[3];
  trap.ss = frame[4];
  trap.cr2 = infos[playing]->cr2;
  trap.mask = infos[playing]->mask;
  infos[playing]->mask = 1;
  if (resume) return;
  print("nobody waits for exception %x at %x\n", trap.vector, trap.rip);
  stop();
}

void traps_init(void) {
  for (int i = 0; i < 256; i++) {
    trap_table[i].vector = i;
    trap_table[i].flags = i == 3 || i == 4 || i == 0x80 ? 3 : i & 1 ? 4 : 0;
    trap_table[i].cs = 0xe033;
    trap_table[i].address = (u64)stubs + 16 * i;
  }
  if (H1(SET_TRAP_TABLE, trap_table)) print("set_trap_table failed\n");
}

/* Addresses in the code are told from the function's start; arithmetic flags are the compiler's. */
void note_trap(const char *what, void (*function)(u64, u64)) {
  NOTE(what, trap.vector, trap.error, trap.rip - (u64)function < 64 ? trap.rip - (u64)function : trap.rip, trap.cs, trap.rflags & 0xfe772a, trap.rsp & 15, trap.ss,
       trap.mask, trap.vector == 14 ? trap.cr2 : 0);
}
