/* What programs ask of the kernel. Files are in $TMPDIR, or /tmp. */
#define _GNU_SOURCE
#include "bench.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t null_call(long n) {
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) sum += syscall(SYS_getppid) == syscall(SYS_getppid);
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

/* Two threads wake each other in turn. */
static uint32_t turn;
static long turns;

static void take_turns(uint32_t mine) {
  for (long i = 0; i < turns; i++) {
    uint32_t now;
    while ((now = __atomic_load_n(&turn, __ATOMIC_ACQUIRE)) % 2 != mine)
      syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, 0, 0, 0);
    __atomic_add_fetch(&turn, 1, __ATOMIC_ACQ_REL);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
  }
}

static void *other_thread(void *unused) {
  take_turns(1);
  return unused;
}

static uint64_t futex(long n) {
  pthread_t other;
  turn = 0, turns = n;
  if (pthread_create(&other, 0, other_thread, 0)) die("pthread_create");
  take_turns(0);
  pthread_join(other, 0);
  return turn;
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

static uint64_t execs(long n) {
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
      execl(self, self, "exit", (char *)0);
      _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    sum += status == 0;
  }
  return sum;
}

static uint64_t faults(long n) {
  enum { PAGES = 256 };
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    unsigned char *p = mmap(0, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    madvise(p, PAGES * 4096, MADV_NOHUGEPAGE);
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

static const char *folder(void) {
  const char *given = getenv("TMPDIR");
  return given ? given : "/tmp";
}

static uint64_t files(long n) {
  char path[200], bytes[700];
  memset(bytes, 'x', sizeof bytes);
  uint64_t sum = 0;
  mkdir(folder(), 0777);
  for (long i = 0; i < n; i++) {
    snprintf(path, sizeof path, "%s/bench-%d-%ld", folder(), (int)getpid(), i & 31);
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
    if (fd < 0 || write(fd, bytes, 100 + i % 600) < 0) die(path);
    if (lseek(fd, 50, SEEK_SET) != 50) die(path);
    sum += read(fd, bytes, sizeof bytes);
    close(fd);
    if (unlink(path)) die(path);
  }
  return sum;
}

static uint64_t stats(long n) {
  struct stat s;
  char missing[200];
  snprintf(missing, sizeof missing, "%s/no-such-file", folder());
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    if (stat(self, &s)) die(self);
    sum += s.st_size > 0;
    sum += stat(missing, &s) != 0;
  }
  return sum;
}

const Kind system_kinds[] = {
    {"null-call", null_call, 300000}, {"pipe", pipes, 8000},      {"futex", futex, 10000},
    {"fork", forks, 500},             {"exec", execs, 200},       {"page-faults", faults, 150},
    {"signals", signals, 40000},      {"small-files", files, 4000}, {"stat", stats, 30000},
    {0},
};
