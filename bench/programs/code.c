/* Programs that change their own code. */
#define _GNU_SOURCE
#include "bench.h"
#include <string.h>
#include <sys/mman.h>

typedef uint32_t Function(void);

static unsigned char *writable_code(int pages) {
  void *at = mmap(0, pages * 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) die("mmap");
  return at;
}

/* mov eax, value; ret */
static void emit(unsigned char *at, uint32_t value) {
  at[0] = 0xb8;
  memcpy(at + 1, &value, 4);
  at[5] = 0xc3;
}

/* The operand of one instruction, changed before each call. */
static uint64_t patch(long n) {
  unsigned char *code = writable_code(1);
  emit(code, 0);
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    *(volatile uint32_t *)(code + 1) = (uint32_t)i;
    sum = sum * 3 + ((Function *)code)();
  }
  munmap(code, 4096);
  return sum;
}

/* What a just-in-time compiler does: a function is written beside others, runs some times, and is replaced. */
static uint64_t compile(long n) {
  enum { FUNCTIONS = 64, BODY = 64 };
  unsigned char *code = writable_code(1);
  for (int i = 0; i < FUNCTIONS; i++) emit(code + i * BODY, i);
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    unsigned char *at = code + i * 7 % FUNCTIONS * BODY;
    /* add eax, imm32 as often as there is room */
    at[0] = 0x31, at[1] = 0xc0;
    for (int k = 0; k < 10; k++) {
      uint32_t value = (uint32_t)(i * 10 + k);
      at[2 + k * 5] = 0x05;
      memcpy(at + 3 + k * 5, &value, 4);
    }
    at[52] = 0xc3;
    for (int k = 0; k < 200; k++) sum = sum * 3 + ((Function *)(code + (i * 7 + k % 4) % FUNCTIONS * BODY))();
  }
  munmap(code, 4096);
  return sum;
}

/* Data that changes, on the page of code that uses it. */
static uint64_t beside(long n) {
  unsigned char *code = writable_code(1);
  emit(code, 5);
  volatile uint32_t *data = (uint32_t *)(code + 2048);
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    *data = (uint32_t)i + ((Function *)code)();
    sum = sum * 3 + *data;
  }
  munmap(code, 4096);
  return sum;
}

const Kind code_kinds[] = {{"patch", patch, 150000}, {"compile", compile, 20000}, {"beside", beside, 4000000}, {0}};
