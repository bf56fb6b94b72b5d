/*
 * A fixed amount of work of each kind that user programs do, one kind after the other. For each it prints
 *   begin NAME
 *   end NAME ITERATIONS NANOSECONDS CHECK
 * where CHECK depends on all results (and must be the same everywhere) and the time is the clock of the machine that
 * runs it; the host measures the lines' arrival too. Build: gcc -O2 -static ... -lm, no -march, so that it is x86-64-v1.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* Multiply, rotate, add, and a branch that is taken half the time. */
static uint64_t integer(long n) {
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

/* Bytes and branches: CRC-32 by table. */
static uint64_t bytes(long n) {
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

/* Calls and returns. */
static __attribute__((noinline)) uint64_t fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static uint64_t calls(long n) {
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) sum += fib(16 + (i & 1));
  return sum;
}

/* Dependent loads over 8 MiB: TLB and cache misses. */
static uint64_t chase(long n) {
  enum { CELLS = 1 << 17, STRIDE = 64 / sizeof(uint32_t) };
  uint32_t *cells = aligned_alloc(4096, (size_t)CELLS * 64);
  if (!cells) die("aligned_alloc");
  /* A full-period congruential sequence visits each cell once. */
  for (uint32_t i = 0, at = 0; i < CELLS; i++) {
    uint32_t next = (at * 1664525u + 1013904223u) & (CELLS - 1);
    cells[at * STRIDE] = next;
    at = next;
  }
  uint32_t at = 0;
  for (long i = 0; i < n; i++) at = cells[at * STRIDE];
  free(cells);
  return at;
}

/* Sequential copies. */
static uint64_t copy(long n) {
  enum { SIZE = 1 << 18 };
  static unsigned char a[SIZE], b[SIZE];
  for (int i = 0; i < SIZE; i++) a[i] = i * 31;
  for (long i = 0; i < n; i++) {
    memcpy(b, a, SIZE);
    b[i & (SIZE - 1)] ^= i;
    memmove(a + 1, b, SIZE - 1);
  }
  uint64_t sum = 0;
  for (int i = 0; i < SIZE; i++) sum = sum * 31 + a[i];
  return sum;
}

static uint64_t sorted(long n) {
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

/* Scalar and vector SSE2: a product of matrices. */
static uint64_t sse(long n) {
  enum { N = 32 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = 1.0 / (i + j + 1), b[i][j] = i - j * 0.5;
  for (long r = 0; r < n; r++)
    for (int i = 0; i < N; i++)
      for (int k = 0; k < N; k++) {
        double x = a[i][k] + r * 1e-9;
        for (int j = 0; j < N; j++) c[i][j] = c[i][j] * 0.5 + x * b[k][j];
      }
  double sum = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) sum += c[i][j];
  uint64_t bits;
  memcpy(&bits, &sum, 8);
  return bits;
}

/* 80-bit arithmetic, with a square root and a division each turn. */
static uint64_t x87(long n) {
  long double x = 1, y = 0.5L, sum = 0;
  for (long i = 0; i < n; i++) {
    long double r = __builtin_sqrtl(x * x + y * y);
    x = x * 0.99L + y / r;
    y = y * 0.98L - 0.01L * x;
    sum += r;
  }
  uint64_t bits;
  memcpy(&bits, &sum, 8);
  return bits;
}

/* What shells and scripts do with numbers. */
static uint64_t format(long n) {
  char line[128];
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    int length = snprintf(line, sizeof line, "%ld %.6f %x %s %g", i, i / 7.0, (unsigned)i * 2654435761u, "text", i * 1e-3);
    for (int k = 0; k < length; k++) sum = sum * 31 + line[k];
  }
  return sum;
}

static uint64_t system_calls(long n) {
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) sum += syscall(SYS_getuid) == (long)getuid();
  return sum;
}

/* One byte to another process and back: two context switches a turn. */
static uint64_t pipes(long n) {
  int there[2], back[2];
  if (pipe(there) || pipe(back)) die("pipe");
  pid_t child = fork();
  if (child < 0) die("fork");
  unsigned char byte = 0;
  if (child == 0) {
    for (long i = 0; i < n; i++) {
      if (read(there[0], &byte, 1) != 1) _exit(1);
      byte++;
      if (write(back[1], &byte, 1) != 1) _exit(1);
    }
    _exit(0);
  }
  for (long i = 0; i < n; i++)
    if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) die("pipe");
  int status;
  waitpid(child, &status, 0);
  close(there[0]), close(there[1]), close(back[0]), close(back[1]);
  return byte + status;
}

static uint64_t forks(long n) {
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) _exit(i & 127);
    int status;
    waitpid(child, &status, 0);
    sum += WEXITSTATUS(status);
  }
  return sum;
}

static uint64_t faults(long n) {
  enum { PAGES = 256 };
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    unsigned char *p = mmap(0, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    for (int k = 0; k < PAGES; k++) p[k * 4096] = k;
    sum += p[(PAGES - 1) * 4096];
    munmap(p, PAGES * 4096);
  }
  return sum;
}

static volatile uint64_t caught;
static void handler(int number) { caught += number; }
static uint64_t signals(long n) {
  caught = 0;
  signal(SIGUSR1, handler);
  for (long i = 0; i < n; i++) raise(SIGUSR1);
  return caught;
}

static const struct {
  const char *name;
  uint64_t (*run)(long);
  long n;
} kinds[] = {
    {"integer", integer, 10000000},
    {"bytes", bytes, 3000},
    {"calls", calls, 3000},
    {"chase", chase, 300000},
    {"copy", copy, 1000},
    {"sort", sorted, 80},
    {"sse", sse, 1000},
    {"x87", x87, 400000},
    {"format", format, 40000},
    {"system-calls", system_calls, 150000},
    {"pipes", pipes, 6000},
    {"forks", forks, 400},
    {"page-faults", faults, 200},
    {"signals", signals, 50000},
};

int main(int argc, char **argv) {
  setvbuf(stdout, 0, _IOLBF, 0);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (argc > 1 && strcmp(argv[1], kinds[i].name)) continue;
    printf("begin %s\n", kinds[i].name);
    uint64_t start = now();
    uint64_t check = kinds[i].run(kinds[i].n);
    printf("end %s %ld %llu %llx\n", kinds[i].name, kinds[i].n, (unsigned long long)(now() - start), (unsigned long long)check);
  }
  return 0;
}
