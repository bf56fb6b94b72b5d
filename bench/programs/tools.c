/* Busybox ($BUSYBOX, or /bin/busybox) at work on a text made here, in $TMPDIR or /tmp. */
#define _GNU_SOURCE
#include "bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *busybox(void) {
  const char *given = getenv("BUSYBOX");
  return given ? given : "/bin/busybox";
}

static void write_text(const char *path) {
  static const char *const words[] = {"kernel", "page", "the", "of", "table", "process", "a", "interrupt", "and", "in"};
  FILE *f = fopen(path, "w");
  if (!f) die(path);
  uint32_t x = 1;
  for (int line = 0; line < 4000; line++) {
    fprintf(f, "%d", line * 7919 % 4001);
    for (int k = 0; k < 8; k++) {
      x = x * 1664525u + 1013904223u;
      fprintf(f, " %s", words[(x >> 24) % 10]);
    }
    fputc('\n', f);
  }
  fclose(f);
}

/* The hash of what a shell command prints, run `n` times; its $B is busybox, its $T the text. */
static uint64_t shell(const char *command, long n) {
  char path[200];
  const char *folder = getenv("TMPDIR");
  if (!folder) mkdir("/tmp", 0777);
  snprintf(path, sizeof path, "%s/bench-text-%d", folder ? folder : "/tmp", (int)getpid());
  write_text(path);
  setenv("T", path, 1);
  setenv("B", busybox(), 1);
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    int output[2], status, length;
    if (pipe(output)) die("pipe");
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
      dup2(output[1], 1);
      close(output[0]), close(output[1]);
      execl(busybox(), "busybox", "sh", "-c", command, (char *)0);
      _exit(127);
    }
    close(output[1]);
    unsigned char bytes[4096];
    while ((length = read(output[0], bytes, sizeof bytes)) > 0)
      for (int k = 0; k < length; k++) sum = sum * 31 + bytes[k];
    close(output[0]);
    waitpid(child, &status, 0);
    if (status) die(command);
  }
  unlink(path);
  return sum;
}

static uint64_t digest(long n) { return shell("$B sha256sum <$T; $B md5sum <$T", n); }
static uint64_t pack(long n) { return shell("$B gzip -c <$T | $B gunzip -c | $B md5sum", n); }
static uint64_t sorting(long n) { return shell("$B sort -n <$T | $B uniq | $B tail -n 100", n); }
static uint64_t edit(long n) { return shell("$B sed -e 's/page/PAGE/g' -e '/table/d' <$T | $B grep -c 'PAGE.*kernel'", n); }
static uint64_t count(long n) {
  return shell("$B awk '{for (i = 2; i <= NF; i++) c[$i]++} END {for (w in c) print c[w], w}' <$T | $B sort", n);
}
static uint64_t script(long n) {
  return shell("i=0; while [ $i -lt 1500 ]; do i=$((i + 1)); case $i in *7) s=$s.;; esac; done; echo ${#s} $i", n);
}
static uint64_t processes(long n) {
  return shell("for i in 1 2 3 4 5 6 7 8 9 10; do echo $i | $B cat | $B wc -c; done; $B ls -d /proc >/dev/null", n);
}

const Kind tool_kinds[] = {
    {"digest", digest, 10}, {"gzip", pack, 5},     {"sort-text", sorting, 4},      {"sed-grep", edit, 5},
    {"awk", count, 2},      {"shell", script, 6}, {"processes", processes, 5}, {0},
};
