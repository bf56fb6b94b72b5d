/*
 * What Linux does before it trusts a timer: ticks are counted over a delay that is taken from the TSC. Two delays, each
 * ten ticks long.
 */
#include "guest.h"

#define HZ 250
#define PIT_HZ 1193182
#define IRQ0 0x30
#define TICKS 10

CODE(loop_code, "sti\n1: rdtsc\nshl $32, %rdx\nor %rdx, %rax\ncmp %rbx, %rax\njb 1b\ncli");

static int ticks;

static int tick(struct frame *frame) {
  if (frame->vector != IRQ0) return 0;
  ticks++;
  outb(0x20, 0x20);
  return 1;
}

static u64 rdtsc(void) {
  u32 low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return (u64)high << 32 | low;
}

int main(void) {
  outb(0x20, 0x11), outb(0x21, IRQ0), outb(0x21, 4), outb(0x21, 1), outb(0x21, 0xfe);
  outb(0x43, 0x34), outb(0x40, (u8)(PIT_HZ / HZ)), outb(0x40, PIT_HZ / HZ >> 8);
  for (int i = 0; i < 2; i++) {
    ticks = 0;
    print("delay %d\n", i);
    kernel(loop_code), hook = tick;
    in.bx = rdtsc() + 1000000000ul / HZ * TICKS;
    run(&in);
    print("ticks %d\n", ticks);
  }
  return 0;
}
