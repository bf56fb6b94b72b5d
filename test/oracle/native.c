/*
 * Runs short instruction sequences on this machine's own processor and reports what they did.
 *
 * stdin: u32 count, then `count` struct input; stdout: for each a struct output and its changed words.
 * One process runs all of them without fork or assembly stubs: every case ends in a trap (the code pages are full of
 * int3), whose signal handler reads the result from the signal frame, writes the next case's registers, flags and
 * FXSAVE image into the same frame and returns into it. CS in the frame selects the mode; segments are those of the
 * GDT and of an LDT.
 * The layout of memory (test/oracle/space.ts has the same numbers):
 *   DATA - 4096    not mapped
 *   DATA           two pages, read-write, not executable
 *   DATA + 8192    one page, read-only; then not mapped
 *   CODE           two pages, read and execute; then not mapped
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define DATA 0x10000000UL
#define DATA_SIZE 8192
#define READ_ONLY_SIZE 4096
#define CODE 0x20000000UL
#define CODE_SIZE 8192
#define WINDOW 512
#define FXSAVE_USED 416
#define TIMEOUT 255
#define NOT_OURS 0x244000 /* ID, AC, NT: the handler starts with them; sigreturn leaves ID and NT as they are */

struct input {
  uint64_t rip;
  uint32_t offset; /* of the code in the code pages */
  uint8_t length, reserved[3];
  uint16_t selectors[8]; /* ES CS SS DS FS GS */
  uint8_t code[32];
  uint64_t gpr[16]; /* in encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8.. */
  uint64_t flags;
  uint32_t window, window_size;
  uint64_t fs_base, gs_base; /* where FS and GS hold 0 */
  uint8_t fxsave[512];
  uint8_t memory[WINDOW];
};

struct output {
  uint64_t gpr[16];
  uint64_t flags, rip, cr2, fs_base, gs_base;
  uint16_t selectors[6]; /* ES CS SS DS FS GS */
  uint32_t error;
  uint16_t trap, changed; /* `changed` struct word follow */
  uint8_t fxsave[FXSAVE_USED];
};

struct word {
  uint64_t offset, value;
};

static const int order[16] = {
  REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
  REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static struct input *inputs;
static uint32_t count, current, ticks, ticks_case;
static int running;
static uint8_t *code_alias, *out, *out_end;
static size_t out_size;
static uint8_t initial[DATA_SIZE], background[DATA_SIZE];
static gregset_t main_gregs;
static uint8_t main_fpu[1024 * 16];
static size_t fpu_size;
static int code_fd;

static void fail(const char *what) {
  perror(what);
  exit(2);
}

static void begin(ucontext_t *uc) {
  struct input *in = &inputs[current];
  memcpy(code_alias + in->offset, in->code, in->length);
  memcpy(initial, background, DATA_SIZE);
  memcpy(initial + (in->window - DATA), in->memory, in->window_size);
  memcpy((void *)DATA, initial, DATA_SIZE);
  greg_t *g = uc->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) g[order[i]] = (greg_t)in->gpr[i];
  g[REG_RIP] = (greg_t)in->rip;
  g[REG_EFL] = (greg_t)in->flags;
  g[REG_CSGSFS] = (greg_t)(in->selectors[1] | (uint64_t)in->selectors[2] << 48);
  uint8_t *fpu = (uint8_t *)uc->uc_mcontext.fpregs;
  memcpy(fpu, in->fxsave, FXSAVE_USED);
  const uint16_t *s = in->selectors;
  __asm__ volatile("mov %0, %%es; mov %1, %%ds; mov %2, %%fs; mov %3, %%gs"
                   : : "r"((unsigned)s[0]), "r"((unsigned)s[3]), "r"((unsigned)s[4]), "r"((unsigned)s[5]));
  if (!s[4]) __asm__ volatile("wrfsbase %0" : : "r"(in->fs_base));
  if (!s[5]) __asm__ volatile("wrgsbase %0" : : "r"(in->gs_base));
  *(uint64_t *)(fpu + 512) = 3; /* XSTATE_BV: x87 and SSE from the frame, the rest initial */
}

/* What a case may change and the signal frame does not hold; FS and GS bases are lost with the selectors. */
struct segments {
  uint16_t ds, es, fs, gs;
  uint64_t fs_base, gs_base;
};

static struct segments take_segments(void) {
  struct segments s;
  __asm__ volatile("rdfsbase %0; rdgsbase %1" : "=r"(s.fs_base), "=r"(s.gs_base));
  __asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3"
                   : "=r"(s.ds), "=r"(s.es), "=r"(s.fs), "=r"(s.gs));
  unsigned flat = 0x2b;
  __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(flat));
  if (s.fs) __asm__ volatile("mov %0, %%fs" : : "r"(0));
  if (s.gs) __asm__ volatile("mov %0, %%gs" : : "r"(0));
  return s;
}

static void finish(ucontext_t *uc, unsigned trap, struct segments s) {
  struct input *in = &inputs[current];
  if ((size_t)(out_end - out) < sizeof(struct output) + DATA_SIZE * 2) _exit(3);
  struct output *result = (struct output *)out;
  out += sizeof *result;
  greg_t *g = uc->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) result->gpr[i] = (uint64_t)g[order[i]];
  result->flags = (uint64_t)g[REG_EFL];
  result->rip = (uint64_t)g[REG_RIP];
  result->trap = (uint16_t)trap;
  result->error = trap == TIMEOUT ? 0 : (uint32_t)g[REG_ERR];
  result->cr2 = trap == 14 ? (uint64_t)g[REG_CR2] : 0;
  memcpy(result->fxsave, uc->uc_mcontext.fpregs, FXSAVE_USED);
  uint64_t selectors = (uint64_t)g[REG_CSGSFS];
  const uint16_t all[6] = { s.es, (uint16_t)selectors, (uint16_t)(selectors >> 48), s.ds, s.fs, s.gs };
  memcpy(result->selectors, all, sizeof all);
  result->fs_base = s.fs_base;
  result->gs_base = s.gs_base;
  result->changed = 0;
  if (memcmp((void *)DATA, initial, DATA_SIZE) != 0) {
    const uint64_t *now = (const uint64_t *)DATA, *before = (const uint64_t *)initial;
    for (unsigned i = 0; i < DATA_SIZE / 8; i++)
      if (now[i] != before[i]) {
        struct word *word = (struct word *)out;
        word->offset = i * 8;
        word->value = now[i];
        out += sizeof *word;
        result->changed++;
      }
  }
  memset(code_alias + in->offset, 0xcc, in->length);
}

static struct segments main_segments;

static void handler(int signal, siginfo_t *info, void *context) {
  __asm__ volatile("pushfq; andq %0, (%%rsp); popfq" : : "i"(~NOT_OURS) : "cc", "memory");
  (void)info;
  ucontext_t *uc = context;
  if (!running) {
    if (signal == SIGPROF) return;
    main_segments = take_segments();
    memcpy(main_gregs, uc->uc_mcontext.gregs, sizeof main_gregs);
    memcpy(main_fpu, uc->uc_mcontext.fpregs, fpu_size);
    running = 1;
    current = 0;
  } else {
    if (signal == SIGPROF) {
      if (ticks_case != current) ticks = 0;
      ticks_case = current;
      if (++ticks < 4) return;
    }
    finish(uc, signal == SIGPROF ? TIMEOUT : (unsigned)uc->uc_mcontext.gregs[REG_TRAPNO], take_segments());
    current++;
  }
  if (current < count)
    begin(uc);
  else {
    memcpy(uc->uc_mcontext.gregs, main_gregs, sizeof main_gregs);
    memcpy(uc->uc_mcontext.fpregs, main_fpu, fpu_size);
    running = 0;
    __asm__ volatile("wrfsbase %0; wrgsbase %1" : : "r"(main_segments.fs_base), "r"(main_segments.gs_base));
  }
}

static void *map(unsigned long at, size_t size, int protection, int flags, int fd) {
  void *got = mmap((void *)at, size, protection, flags | (at ? MAP_FIXED_NOREPLACE : 0), fd, 0);
  if (got == MAP_FAILED || (at && got != (void *)at)) fail("mmap");
  return got;
}

static void read_all(void *to, size_t size) {
  if (fread(to, 1, size, stdin) != size) {
    fputs("truncated input\n", stderr);
    exit(2);
  }
}

/* test/oracle/segments.ts says what each is for. */
static void make_ldt(void) {
  struct user_desc entries[] = {
    { .base_addr = CODE, .limit = CODE_SIZE - 1, .contents = 2 },
    { .base_addr = CODE, .limit = CODE_SIZE - 1, .contents = 2, .seg_32bit = 1 },
    { .base_addr = DATA, .limit = DATA_SIZE + READ_ONLY_SIZE - 1 },
    { .base_addr = DATA, .limit = DATA_SIZE + READ_ONLY_SIZE - 1, .seg_32bit = 1 },
    { .base_addr = DATA, .limit = 0xfff, .contents = 1 },
    { .base_addr = DATA, .limit = 0xfff, .contents = 1, .seg_32bit = 1 },
    { .base_addr = DATA + 0x800, .limit = 0xfff, .read_exec_only = 1, .seg_32bit = 1 },
    { .base_addr = DATA + 0x1004, .limit = 0x7fe, .seg_32bit = 1 },
    { .base_addr = DATA, .limit = 0xfff, .seg_not_present = 1 },
  };
  for (unsigned i = 0; i < sizeof entries / sizeof *entries; i++) {
    entries[i].entry_number = i;
    entries[i].useable = 1;
    if (syscall(SYS_modify_ldt, 0x11, &entries[i], sizeof entries[i])) fail("modify_ldt");
  }
}

int main(void) {
  /* LSL of Linux's CPU number segment has to say 0. */
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  if (sched_setaffinity(0, sizeof first, &first)) fail("sched_setaffinity");
  map(DATA, DATA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  uint8_t *read_only =
    map(DATA + DATA_SIZE, READ_ONLY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (unsigned i = 0; i < DATA_SIZE + READ_ONLY_SIZE; i++) {
    uint8_t value = (uint8_t)(i * 0x9d + (i >> 8) * 7);
    if (i < DATA_SIZE)
      background[i] = value;
    else
      read_only[i - DATA_SIZE] = value;
  }
  if (mprotect(read_only, READ_ONLY_SIZE, PROT_READ)) fail("mprotect");
  make_ldt();
  code_fd = memfd_create("code", 0);
  if (code_fd < 0 || ftruncate(code_fd, CODE_SIZE)) fail("memfd");
  code_alias = map(0, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, code_fd);
  map(CODE, CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, code_fd);
  memset(code_alias, 0xcc, CODE_SIZE);

  read_all(&count, sizeof count);
  inputs = map(0, (size_t)count * sizeof *inputs + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (uint32_t i = 0; i < count; i++) {
    struct input *in = &inputs[i];
    read_all(in, sizeof *in);
    if (in->length > sizeof in->code || in->offset + in->length > CODE_SIZE || in->window_size > WINDOW ||
        in->window < DATA || in->window + in->window_size > DATA + DATA_SIZE) {
      fprintf(stderr, "case %u is malformed\n", i);
      return 2;
    }
  }
  out_size = ((size_t)count + 1) * (sizeof(struct output) + DATA_SIZE * 2);
  uint8_t *start = map(0, out_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  out = start;
  out_end = start + out_size;

  stack_t alternate = { .ss_size = 1 << 18 };
  alternate.ss_sp = map(0, alternate.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (sigaltstack(&alternate, NULL)) fail("sigaltstack");
  struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
  sigfillset(&action.sa_mask);
  const int signals[] = { SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGPROF };
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
    if (sigaction(signals[i], &action, NULL)) fail("sigaction");
  struct itimerval tick = { { 0, 20000 }, { 0, 20000 } };
  if (setitimer(ITIMER_PROF, &tick, NULL)) fail("setitimer");
  fpu_size = 576; /* legacy area and header: enough for what main itself uses */
  if (count) __asm__ volatile("int3" : : : "memory");
  struct itimerval none = { { 0, 0 }, { 0, 0 } };
  setitimer(ITIMER_PROF, &none, NULL);
  for (uint8_t *p = start; p < out;) {
    ssize_t n = write(1, p, (size_t)(out - p));
    if (n <= 0) fail("write");
    p += n;
  }
  return 0;
}
