/* For a debugger: a loop that is soon hot, with a variable that it changes, a function that it calls, and one that it never does. */
#include "guest.h"

volatile word counter, sum, ended;
volatile u8 bytes[16];

__attribute__((noinline)) word twice(word value) {
  asm volatile("" : "+r"(value));
  return value * 2;
}

__attribute__((noinline)) void work(void) {
  for (word i = 0; !ended; i++) {
    sum += twice(i);
    if ((i & 0xffff) == 0) counter++;
    bytes[i & 7] = (u8)i;
  }
}

int main(void) {
  work();
  print("counter %x\n", counter);
  return 0;
}
