/* Real mode for 32-bit test kernels: see real.S. */
#include "guest.h"

extern u8 real_start[], real_stubs[], real_end[];
void real_enter(void);

#define SEGMENT ((u8 *)0x10000)
#define REAL_CODE 0x7000
#define REAL_IN ((u32 *)(SEGMENT + 0x7800))
#define REAL_OUT ((u32 *)(SEGMENT + 0x7900))
#define CODE_BYTES 512

static const u8 *piece;

static void real_run(struct frame *frame) {
  for (u8 *p = real_start; p < real_end; p++) SEGMENT[REAL_CODE + (p - real_start)] = *p;
  for (int i = 0; i < CODE_BYTES; i++) SEGMENT[i] = piece[i];
  for (u32 vector = 0; vector < 256; vector++)
    ((volatile u32 *)0)[vector] = 0x10000000 | (REAL_CODE + (real_stubs - real_start) + 8 * vector);
  gdt[FREE / 8] = descriptor(0x10000, 0xffff, 0x09b);
  for (int i = 0; i < REGISTERS; i++) REAL_IN[i] = frame->gpr[i];
  REAL_IN[8] = frame->ip, REAL_IN[9] = frame->flags, REAL_IN[10] = frame->sp, REAL_IN[11] = frame->ss;
  REAL_IN[12] = REAL_DS, REAL_IN[13] = REAL_ES;
  for (int i = 0; i < 20; i++) REAL_OUT[i] = 0;
  real_enter();
  out = *frame;
  for (int i = 0; i < REGISTERS; i++) out.gpr[i] = i == 4 ? 0 : REAL_OUT[i];
  out.ip = REAL_OUT[8], out.flags = REAL_OUT[9], out.sp = REAL_OUT[10], out.ss = REAL_OUT[11];
  out_ds = REAL_OUT[12], out_es = REAL_OUT[13], out_fs = REAL_OUT[17], out_gs = REAL_OUT[18];
  out.vector = REAL_OUT[14], out.cs = REAL_OUT[15], out_handler_flags = REAL_OUT[16];
}

void real(const void *code) {
  piece = code;
  kernel(0);
  in.cs = 0x1000, in.ss = REAL_SS, in.sp = 0x8000;
  runner = real_run;
}
