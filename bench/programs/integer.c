/* General registers only: arithmetic, branches, calls, small data. */
#include "bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Shifts, a multiplication, and a branch that is taken half the time. */
static uint64_t arithmetic(long n) {
  uint64_t x = 88172645463325252ull, sum = 0;
  for (long i = 0; i < n; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    if (x & 1) sum += x * 0x9e3779b97f4a7c15ull;
    else sum ^= sum >> 29;
  }
  return sum;
}

static uint64_t divide(long n) {
  uint32_t x = 1, sum = 0;
  for (long i = 1; i <= n; i++) {
    x = x * 1664525u + 1013904223u;
    uint32_t d = (x >> 20) + (uint32_t)(i & 7) + 1;
    sum += x / d + x % (d + 2);
    sum ^= (uint32_t)((int32_t)sum / (int32_t)d);
  }
  return sum;
}

/* Branches that nothing predicts: lengths of Collatz sequences. */
static uint64_t branches(long n) {
  uint64_t sum = 0;
  for (long i = 1; i <= n; i++) {
    uint32_t x = i, steps = 0;
    while (x != 1) {
      if (x & 1) x += (x >> 1) + 1, steps += 2;
      else x >>= 1, steps++;
    }
    sum = sum * 3 + steps;
  }
  return sum;
}

/* CRC-32 by table, byte by byte. */
static uint64_t crc(long n) {
  static uint32_t table[256];
  static unsigned char data[4096];
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  for (int i = 0; i < 4096; i++) data[i] = i * 7;
  uint32_t c = ~0u;
  for (long i = 0; i < n; i++)
    for (int k = 0; k < 4096; k++) c = table[(c ^ data[k]) & 255] ^ (c >> 8);
  return c;
}

static __attribute__((noinline, noclone)) uint32_t fib(uint32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static uint64_t recursion(long n) {
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) sum += fib(16 + (i & 1));
  return sum;
}

/* Calls through pointers, and the jump table of a small interpreter. */
static uint32_t op_add(uint32_t a, uint32_t b) { return a + b; }
static uint32_t op_xor(uint32_t a, uint32_t b) { return a ^ (b << 3); }
static uint32_t op_mul(uint32_t a, uint32_t b) { return a * (b | 1); }
static uint32_t op_turn(uint32_t a, uint32_t b) { return a << (b & 31) | a >> (-b & 31); }
static uint64_t pointers(long n) {
  static uint32_t (*volatile const ops[4])(uint32_t, uint32_t) = {op_add, op_xor, op_mul, op_turn};
  uint32_t x = 1;
  for (long i = 0; i < n; i++) x = ops[(i ^ (i >> 3)) & 3](x, (uint32_t)i);
  return x;
}

static uint64_t bytecode(long n) {
  enum { PUSH, ADD, MUL, XOR, SHIFT, SWAP, LOOP, END };
  static const unsigned char code[] = {PUSH, 7, ADD, PUSH, 3, MUL, SWAP, PUSH, 11, XOR, SHIFT, SWAP, ADD, LOOP, END};
  uint32_t sum = 0;
  for (long i = 0; i < n; i++) {
    uint32_t stack[8] = {(uint32_t)i, 1, 2, 3}, a;
    int top = 3, left = 100;
    for (const unsigned char *at = code;;) switch (*at++) {
        case PUSH: stack[++top & 7] = *at++; break;
        case ADD: a = stack[top-- & 7], stack[top & 7] += a; break;
        case MUL: a = stack[top-- & 7], stack[top & 7] *= a | 1; break;
        case XOR: a = stack[top-- & 7], stack[top & 7] ^= a; break;
        case SHIFT: stack[top & 7] ^= stack[top & 7] >> 5; break;
        case SWAP: a = stack[top & 7], stack[top & 7] = stack[(top - 1) & 7], stack[(top - 1) & 7] = a; break;
        case LOOP:
          top++;
          if (--left) at = code;
          break;
        case END: sum = sum * 31 + stack[top & 7]; goto done;
      }
  done:;
  }
  return sum;
}

static uint64_t sort(long n) {
  enum { COUNT = 4096 };
  static uint32_t v[COUNT];
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    uint32_t x = 12345 + i;
    for (int k = 0; k < COUNT; k++) v[k] = x = x * 1103515245u + 12345u;
    for (int gap = COUNT / 2; gap > 0; gap /= 2)
      for (int k = gap; k < COUNT; k++) {
        uint32_t t = v[k];
        int j = k;
        for (; j >= gap && v[j - gap] > t; j -= gap) v[j] = v[j - gap];
        v[j] = t;
      }
    sum = sum * 31 + v[COUNT / 3];
  }
  return sum;
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}
/* The library's sort: a comparison through a pointer, copies of few bytes. */
static uint64_t library_sort(long n) {
  enum { COUNT = 2048 };
  static uint32_t v[COUNT];
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    uint32_t x = 777 + i;
    for (int k = 0; k < COUNT; k++) v[k] = x = x * 1103515245u + 12345u;
    qsort(v, COUNT, sizeof *v, ascending);
    sum = sum * 31 + v[COUNT / 3];
  }
  return sum;
}

/* A table with open addressing: insert, look up, remove. */
static uint64_t hash(long n) {
  enum { SLOTS = 1 << 14 };
  static uint32_t keys[SLOTS], values[SLOTS];
  memset(keys, 0, sizeof keys);
  uint64_t sum = 0;
  uint32_t x = 2463534242u;
  for (long i = 0; i < n; i++) {
    x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    uint32_t key = x % 10000 + 1, slot = key * 2654435761u >> 18;
    while (keys[slot] != 0 && keys[slot] != key) slot = (slot + 1) & (SLOTS - 1);
    if (keys[slot] == 0) keys[slot] = key, values[slot] = 0;
    values[slot] += i & 15;
    sum += values[slot];
  }
  return sum;
}

static uint64_t matrix(long n) {
  enum { N = 48 };
  static int32_t a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = i * 3 - j, b[i][j] = i ^ j;
  for (long r = 0; r < n; r++) {
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        int32_t sum = 0;
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
    a[r % N][7] += c[3][r % N];
  }
  uint64_t sum = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) sum = sum * 31 + (uint32_t)c[i][j];
  return sum;
}

static uint64_t sieve(long n) {
  enum { SIZE = 1 << 17 };
  static unsigned char composite[SIZE];
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    memset(composite, 0, SIZE);
    uint32_t count = 0;
    for (uint32_t p = 2; p < SIZE; p++) {
      if (composite[p]) continue;
      count++;
      for (uint32_t k = p * 2; k < SIZE; k += p) composite[k] = 1;
    }
    sum += count + i;
  }
  return sum;
}

/* Rotations, additions and logic on many live values: the rounds of SHA-256 with simple constants. */
static uint64_t rotate(long n) {
  uint32_t s[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[16];
  for (int i = 0; i < 16; i++) w[i] = i * 0x9e3779b9u;
#define R(x, k) ((x) >> (k) | (x) << (32 - (k)))
  for (long i = 0; i < n; i++) {
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (int t = 0; t < 64; t++) {
      uint32_t x = w[t & 15] += R(w[(t + 1) & 15], 7) ^ (w[(t + 14) & 15] >> 10);
      uint32_t t1 = h + (R(e, 6) ^ R(e, 11) ^ R(e, 25)) + ((e & f) ^ (~e & g)) + x + t;
      uint32_t t2 = (R(a, 2) ^ R(a, 13) ^ R(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    s[0] += a, s[1] += b, s[2] += c, s[3] += d, s[4] += e, s[5] += f, s[6] += g, s[7] += h;
  }
#undef R
  return (uint64_t)s[0] << 32 | s[5];
}

/* What shells and scripts do with numbers. */
static uint64_t format(long n) {
  char line[128];
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    int length = snprintf(line, sizeof line, "%ld %u %x %s %08lx", i, (unsigned)i * 7, (unsigned)i * 40503u, "text", i);
    for (int k = 0; k < length; k++) sum = sum * 31 + line[k];
    sum += strtoul(line, 0, 10);
  }
  return sum;
}

const Kind integer_kinds[] = {
    {"arithmetic", arithmetic, 60000000},
    {"divide", divide, 40000000},
    {"branches", branches, 1500000},
    {"crc", crc, 12000},
    {"recursion", recursion, 16000},
    {"pointers", pointers, 24000000},
    {"bytecode", bytecode, 30000},
    {"sort", sort, 250},
    {"library-sort", library_sort, 500},
    {"hash", hash, 30000000},
    {"matrix", matrix, 2000},
    {"sieve", sieve, 200},
    {"rotate", rotate, 300000},
    {"format", format, 200000},
    {0},
};
