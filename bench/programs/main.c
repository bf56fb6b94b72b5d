/*
 * A fixed amount of work of each kind that programs do, one kind after the other:
 *   programs ROUNDS PERCENT [SET or NAME...]
 * runs each kind (or the named ones) ROUNDS times, with PERCENT of its iterations, and prints
 *   begin NAME SET
 *   round NAME NUMBER MICROSECONDS CHECK
 *   end NAME
 * CHECK depends on all results and must be the same everywhere; the time is processor time of this process and its
 * children, of use on a real machine only: whoever watches a virtual one times the arrival of the lines.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

const char *self;

void die(const char *what) {
  perror(what);
  exit(1);
}

static const struct {
  const char *name;
  const Kind *kinds;
} sets[] = {
    {"integer", integer_kinds}, {"sse", sse_kinds},     {"x87", x87_kinds},       {"copy", copy_kinds},
    {"string", string_kinds},   {"chase", chase_kinds}, {"system", system_kinds}, {"code", code_kinds},
    {"tools", tool_kinds},
};

static int chosen(int argc, char **argv, const char *set, const char *name) {
  for (int i = 3; i < argc; i++)
    if (!strcmp(argv[i], set) || !strcmp(argv[i], name)) return 1;
  return argc <= 3;
}

static int64_t processor_time(void) {
  int64_t sum = 0;
  for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
    struct rusage u;
    if (getrusage(who, &u)) die("getrusage");
    sum += (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000ll + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
  }
  return sum;
}

/* Processes that talk to each other do so on one processor, as in a machine that has one. */
static void use_one_processor(void) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  sched_setaffinity(0, sizeof one, &one);
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "exit")) return 0;
  self = argv[0];
  long rounds = argc > 1 ? atol(argv[1]) : 1, percent = argc > 2 ? atol(argv[2]) : 100;
  setvbuf(stdout, 0, _IOLBF, 0);
  use_one_processor();
  for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
    for (const Kind *kind = sets[s].kinds; kind->name; kind++) {
      if (!chosen(argc, argv, sets[s].name, kind->name)) continue;
      long n = ((int64_t)kind->n * percent + 99) / 100;
      printf("begin %s %s\n", kind->name, sets[s].name);
      for (long i = 1; i <= rounds; i++) {
        int64_t start = processor_time();
        unsigned long long check = kind->run(n);
        printf("round %s %ld %lld %llx\n", kind->name, i, (long long)(processor_time() - start), check);
      }
      printf("end %s\n", kind->name);
    }
  return 0;
}
