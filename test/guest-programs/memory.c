/*
 * Virtual memory as programs see it: mapping, protection, copies on write, sharing, files, code that is written and
 * changed while it runs, on one page and across two. Prints one line a case.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };

static uint64_t digest(const void *bytes, size_t size) {
  const unsigned char *byte = bytes;
  uint64_t result = 0xcbf29ce484222325;
  for (size_t i = 0; i < size; i++) result = (result ^ byte[i]) * 0x100000001b3;
  return result;
}

static void *map(size_t size, int protection, int flags) {
  void *result = mmap(0, size, protection, MAP_ANONYMOUS | flags, -1, 0);
  if (result == MAP_FAILED) abort();
  return result;
}

static void fill(uint32_t *words, size_t count, uint32_t seed) {
  for (size_t i = 0; i < count; i++) words[i] = seed = seed * 1664525 + 1013904223;
}

/** Children write to what they share and to what is copied. */
static void copies(void) {
  enum { SIZE = 1 << 20 };
  uint32_t *private = map(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  uint32_t *shared = map(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
  fill(private, SIZE / 4, 1);
  uint64_t before = digest(private, SIZE), sum = 0;
  for (int child = 0; child < 8; child++)
    if (!fork()) {
      for (int i = child; i < SIZE / 4; i += 1000) private[i] ^= (uint32_t)child + 1;
      shared[child] = (uint32_t)digest(private, SIZE);
      _exit(0);
    }
  while (wait(0) > 0) ;
  for (int child = 0; child < 8; child++) sum = sum * 31 + shared[child];
  printf("copy on write: own %d, children's %llx\n", before == digest(private, SIZE), (unsigned long long)sum);
  munmap(private, SIZE);
  munmap(shared, SIZE);
}

static void files(void) {
  int fd = memfd_create("file", 0), other = open("/proc/self/exe", O_RDONLY);
  enum { SIZE = 300 * PAGE };
  if (ftruncate(fd, SIZE)) abort();
  uint32_t *first = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  uint32_t *second = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  uint32_t *copy = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  fill(first, SIZE / 4, 2);
  printf("one file mapped twice: %d\n", !memcmp(first, second, SIZE));
  char *text = malloc(SIZE);
  if (pread(fd, text, SIZE, 0) != SIZE) abort();
  printf("and read: %d\n", !memcmp(first, text, SIZE));
  copy[5] = 1;
  first[6] = 7;
  printf("private: %u %u, shared %u %u\n", copy[5], copy[6], second[5], second[6]);
  if (pwrite(fd, "written", 8, 3 * PAGE + 5) != 8) abort();
  printf("a write shows: %s\n", (char *)second + 3 * PAGE + 5);
  char *program = mmap(0, PAGE, PROT_READ, MAP_PRIVATE, other, 0);
  printf("own program: %d\n", !memcmp(program, "\177ELF\2\1\1", 7));
}

static void many(void) {
  enum { COUNT = 2000 };
  static char *maps[COUNT];
  uint64_t sum = 0;
  for (int i = 0; i < COUNT; i++) {
    maps[i] = map((size_t)(1 + i % 5) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    maps[i][i] = (char)i;
  }
  for (int i = 0; i < COUNT; i += 3) mprotect(maps[i], PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_EXEC);
  for (int i = 0; i < COUNT; i += 7) {
    char *moved = mremap(maps[i], (size_t)(1 + i % 5) * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED) continue; /* its first page has another protection than the rest */
    maps[i] = moved;
  }
  for (int i = 0; i < COUNT; i++) sum = sum * 7 + (unsigned char)maps[i][i];
  for (int i = 1; i < COUNT; i += 2) munmap(maps[i], 8 * PAGE);
  printf("many mappings: %llx\n", (unsigned long long)sum);
}

static void advice(void) {
  enum { SIZE = 4 << 20 };
  char *memory = map(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  madvise(memory, SIZE, MADV_HUGEPAGE);
  fill((uint32_t *)memory, SIZE / 4, 3);
  uint64_t before = digest(memory, SIZE);
  mprotect(memory + 2 * PAGE, PAGE, PROT_READ); /* splits a large page */
  printf("large pages split: %d\n", before == digest(memory, SIZE));
  mprotect(memory + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE);
  madvise(memory, SIZE / 2, MADV_DONTNEED);
  unsigned char resident[SIZE / PAGE];
  mincore(memory, SIZE, resident);
  printf("not needed: %d %d, resident %d\n", memory[0], memory[SIZE / 2 - 1], resident[SIZE / PAGE - 1] & 1);
  memory = mremap(memory, SIZE, SIZE * 2, MREMAP_MAYMOVE);
  printf("grown: %llx\n", (unsigned long long)digest(memory, SIZE * 2));
}

/** mov $value,%eax; ret */
static void put(unsigned char *code, uint32_t value) {
  code[0] = 0xb8;
  memcpy(code + 1, &value, 4);
  code[5] = 0xc3;
}

typedef uint32_t function(void);

static void code(void) {
  unsigned char *page = map(3 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
  uint64_t sum = 0;
  for (uint32_t i = 0; i < 3000; i++) {
    unsigned char *at = page + (i * 37) % (2 * PAGE); /* some lie across the pages */
    put(at, i * 2654435761u);
    sum = sum * 31 + ((function *)at)();
    at[1] ^= 0x55; /* only the immediate */
    sum = sum * 31 + ((function *)at)();
  }
  printf("written code: %llx\n", (unsigned long long)sum);

  /* The second page of an instruction that crosses changes alone. */
  unsigned char *across = page + PAGE - 3;
  put(across, 0x11223344);
  sum = ((function *)across)();
  page[PAGE] = 0x99;
  sum += (uint64_t)((function *)across)() << 32;
  printf("across pages: %llx\n", (unsigned long long)sum);

  /* Code that changes the instruction after the next one, and itself: mov byte [rip+6],7; nop*6; mov eax,imm; ret */
  static const unsigned char changing[] = {0xc6, 0x05, 0x07, 0, 0, 0, 7, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xb8, 1, 0, 0, 0, 0xc3};
  memcpy(page, changing, sizeof changing);
  uint32_t first = ((function *)page)();
  page[14] = 1;
  uint32_t second = ((function *)page)();
  printf("changes itself: %u %u\n", first, second);

  /* A loop that counts in its own immediate: 100 turns. */
  static const unsigned char loop[] = {0xb9, 100, 0, 0, 0, 0xff, 0x05, 0x05, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf6, 0xb8, 0, 0, 0, 0, 0xc3};
  memcpy(page + 64, loop, sizeof loop);
  printf("counts in itself: %u\n", ((function *)(page + 64))());

  /* The same code by two addresses: written by the one, run by the other. */
  int fd = memfd_create("code", 0);
  if (ftruncate(fd, PAGE)) abort();
  unsigned char *writable = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  unsigned char *executable = mmap(0, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  sum = 0;
  for (uint32_t i = 0; i < 200; i++) {
    put(writable + i, i * 40503);
    sum = sum * 31 + ((function *)(executable + i))();
  }
  printf("two addresses: %llx\n", (unsigned long long)sum);

  /* A file's write changes code that has run. */
  put(writable, 1);
  sum = ((function *)executable)();
  uint32_t value = 2;
  if (pwrite(fd, &value, 4, 1) != 4) abort();
  printf("by a system call: %llu %u\n", (unsigned long long)sum, ((function *)executable)());

  /* A page of code is replaced by another at the same address. */
  unsigned char *place = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
  sum = 0;
  for (uint32_t i = 0; i < 50; i++) {
    put(place, i);
    sum = sum * 31 + ((function *)place)();
    place = mmap(place, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }
  printf("mapped anew: %llx\n", (unsigned long long)sum);

  /* Children change the code that they have inherited. */
  put(place, 3);
  int status;
  for (int i = 0; i < 4; i++) {
    if (!fork()) {
      int before = (int)((function *)place)();
      put(place, (uint32_t)i * 10);
      _exit(before + (int)((function *)place)());
    }
    wait(&status);
    printf("child %d, parent %u\n", WEXITSTATUS(status), ((function *)place)());
  }
}

/** Accesses that cross pages, of all sizes and at all offsets. */
static void crossings(void) {
  unsigned char *memory = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  uint64_t sum = 0;
  for (int offset = 1; offset < 16; offset++) {
    unsigned char *at = memory + PAGE - offset;
    for (int i = 0; i < 32; i++) at[i] = (unsigned char)(i * 17 + offset);
    *(uint16_t *)at += 3;
    *(uint32_t *)at ^= 0x12345678;
    *(uint64_t *)at *= 31;
    __atomic_fetch_add((uint64_t *)at, 99, __ATOMIC_SEQ_CST);
    __asm__ volatile("movups (%0),%%xmm0; paddb %%xmm0,%%xmm0; movups %%xmm0,(%0)" ::"r"(at) : "xmm0", "memory");
    __asm__ volatile("fldt (%0); fstpt 10(%0)" ::"r"(at) : "memory");
    sum = sum * 31 + digest(at, 32);
  }
  printf("crossings: %llx\n", (unsigned long long)sum);
}

int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  copies();
  files();
  many();
  advice();
  code();
  crossings();
  return 0;
}
