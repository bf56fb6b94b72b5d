/* Copies, the library's string functions, and loads that depend on each other. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>

enum { SIZE = 1 << 16 };
static unsigned char from[SIZE + 64] __attribute__((aligned(64))), to[SIZE + 64] __attribute__((aligned(64)));

static void fill(void) {
  for (int i = 0; i < SIZE; i++) from[i] = i * 31;
}

static uint64_t sum_of(const unsigned char *at) {
  uint64_t sum = 0;
  for (int i = 0; i < SIZE; i++) sum = sum * 31 + at[i];
  return sum;
}

/* From 1 kB to 64 kB, at changing alignments. */
static uint64_t copy(long n) {
  fill();
  for (long i = 0; i < n; i++) {
    size_t size = SIZE >> (i % 7);
    memcpy(to + (i & 15), from + (i & 7), size);
    from[i & (SIZE - 1)] ^= to[size / 2];
  }
  return sum_of(to);
}

static uint64_t set(long n) {
  for (long i = 0; i < n; i++) memset(to + (i & 15), (int)i, SIZE >> (i % 7));
  return sum_of(to);
}

static uint64_t move(long n) {
  fill();
  for (long i = 0; i < n; i++) memmove(from + (i & 1 ? 1 : 0), from + (i & 1 ? 0 : 1), SIZE - 1);
  return sum_of(from);
}

/* The processor's own string instructions, which kernels use. */
static uint64_t rep_movs(long n) {
  fill();
  for (long i = 0; i < n; i++) {
    void *source = from + (i & 7), *target = to;
    uintptr_t count = SIZE >> (i % 7);
    __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(count)::"memory");
    from[i & (SIZE - 1)] ^= to[i & 511];
  }
  return sum_of(to);
}

static uint64_t rep_stos(long n) {
  for (long i = 0; i < n; i++) {
    void *target = to + (i & 3) * 4;
    uintptr_t count = (SIZE >> (i % 7)) / 4;
    __asm__ volatile("rep stosl" : "+D"(target), "+c"(count) : "a"((uint32_t)i * 0x01010101u) : "memory");
  }
  return sum_of(to);
}

const Kind copy_kinds[] = {
    {"memcpy", copy, 40000},       {"memset", set, 120000},       {"memmove", move, 20000},
    {"rep-movs", rep_movs, 60000}, {"rep-stos", rep_stos, 60000}, {0},
};

enum { WORDS = 512 };
static char text[WORDS * 128 + 128], *words[WORDS];

/* Words of 3 to 120 letters. */
static void write_words(void) {
  char *at = text;
  for (int i = 0; i < WORDS; i++) {
    words[i] = at;
    int length = 3 + i * 7919 % 118;
    for (int k = 0; k < length; k++) *at++ = 'a' + (k * 7 + (i & 3)) % 25;
    *at++ = 0;
  }
}

static uint64_t lengths(long n) {
  write_words();
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) sum = sum * 3 + strlen(words[i & (WORDS - 1)]);
  return sum;
}

static uint64_t find_byte(long n) {
  write_words();
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    char *word = words[i & (WORDS - 1)], *end = memchr(word, 0, 200);
    char *z = memchr(word, 'y', end - word);
    sum = sum * 3 + (end - word) + (z ? z - word : 0);
  }
  return sum;
}

static uint64_t find_character(long n) {
  write_words();
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    char *word = words[i & (WORDS - 1)], *c = strchr(word, 'a' + (i & 31)), *last = strrchr(word, 'k');
    sum = sum * 3 + (c ? c - word : 1) + (last ? last - word : 2);
  }
  return sum;
}

static uint64_t compare(long n) {
  write_words();
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    int order = strcmp(words[i & (WORDS - 1)], words[(i + 4 * (i >> 9)) & (WORDS - 1)]);
    sum = sum * 3 + (order > 0) - (order < 0);
  }
  return sum;
}

static uint64_t compare_bytes(long n) {
  write_words();
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    int order = memcmp(words[i & (WORDS - 1)], words[(i * 5 + 4) & (WORDS - 1)], 1 + i % 100);
    sum = sum * 3 + (order > 0) - (order < 0);
  }
  return sum;
}

static uint64_t copy_string(long n) {
  write_words();
  char line[256];
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    strcpy(line, words[i & (WORDS - 1)]);
    strcat(line, words[(i * 3) & (WORDS - 1)]);
    sum = sum * 3 + line[i & 3];
  }
  return sum;
}

static uint64_t search(long n) {
  write_words();
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    char needle[4] = {'a' + (i & 15), 'h' + (i & 15), 0};
    char *found = strstr(words[i & (WORDS - 1)], needle);
    sum = sum * 3 + (found ? found - words[i & (WORDS - 1)] : 99);
  }
  return sum;
}

const Kind string_kinds[] = {
    {"strlen", lengths, 12000000},      {"memchr", find_byte, 6000000},   {"strchr", find_character, 4000000},
    {"strcmp", compare, 2400000},      {"memcmp", compare_bytes, 8000000}, {"strcpy", copy_string, 2000000},
    {"strstr", search, 2000000},        {0},
};

/* A walk through `cells` cache lines that visits each once: a full-period congruential sequence. */
static uint64_t walk(uint32_t cells, long n) {
  enum { STRIDE = 64 / sizeof(uint32_t) };
  uint32_t *cell = aligned_alloc(4096, (size_t)cells * 64);
  if (!cell) die("aligned_alloc");
  for (uint32_t i = 0, at = 0; i < cells; i++) {
    uint32_t next = (at * 1664525u + 1013904223u) & (cells - 1);
    cell[at * STRIDE] = next;
    at = next;
  }
  uint32_t at = 0;
  for (long i = 0; i < n; i++) at = cell[at * STRIDE];
  free(cell);
  return at;
}

static uint64_t chase_256k(long n) { return walk(1 << 12, n); }
static uint64_t chase_2m(long n) { return walk(1 << 15, n); }
static uint64_t chase_16m(long n) { return walk(1 << 18, n); }

const Kind chase_kinds[] = {
    {"chase-256k", chase_256k, 20000000},
    {"chase-2m", chase_2m, 10000000},
    {"chase-16m", chase_16m, 1000000},
    {0},
};
