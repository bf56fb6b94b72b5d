/*
 * Faults as signals: what the handler is told (signal, code, address, trap number, error code), in which state it finds
 * the registers, and that the program goes on where the handler wants. Prints one line a case.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile int caught, code, trap, error, onStack;
static void *volatile address;
static volatile uint64_t flags, skip, ip;
static char stack[1 << 16];
static char *page, *file;
static volatile int *volatile none;

static void handler(int signal, siginfo_t *info, void *context) {
  /* The C library is not made for AC: what it chooses on some processors would fault again and again. */
  __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~0x40000ull);
  ucontext_t *u = context;
  greg_t *r = u->uc_mcontext.gregs;
  char here;
  caught = signal;
  code = info->si_code;
  address = info->si_addr;
  trap = (int)r[REG_TRAPNO];
  error = (int)r[REG_ERR];
  flags = (uint64_t)r[REG_EFL];
  ip = (uint64_t)r[REG_RIP];
  onStack = &here > stack && &here < stack + sizeof stack;
  if (skip) {
    r[REG_RIP] += (greg_t)skip;
    r[REG_EFL] &= ~0x100;
    skip = 0;
    return;
  }
  siglongjmp(back, 1);
}

static const char *where(uintptr_t a) {
  static char text[40];
  if (a - (uintptr_t)page < 8192) snprintf(text, sizeof text, "page+%lx", a - (uintptr_t)page);
  else if (a - (uintptr_t)file < 8192) snprintf(text, sizeof text, "file+%lx", a - (uintptr_t)file);
  else if (a == (uintptr_t)getpid()) return "own number";
  else if (a < 0x10000 || a >> 47) snprintf(text, sizeof text, "%lx", a);
  else return "code";
  return text;
}

static void report(const char *what) {
  printf("%-26s signal %d code %d trap %d error %x address %s stack %d\n", what, caught, code, trap, error,
         where((uintptr_t)address), onStack);
}

#define CASE(what, ...)                                                                                                \
  do {                                                                                                                 \
    caught = 0;                                                                                                        \
    skip = 0;                                                                                                          \
    if (!sigsetjmp(back, 1)) {                                                                                         \
      __VA_ARGS__;                                                                                                     \
    }                                                                                                                  \
    report(what);                                                                                                      \
  } while (0)
#define ASM(text) __asm__ volatile(text ::: "rax", "rbx", "rcx", "rdx", "memory", "cc")

static void unmask(int exceptions) {
  fenv_t environment;
  feholdexcept(&environment);
  feenableexcept(exceptions);
}

static volatile double zero, one = 1, tiny = 4e-320, huge = 1e308;
static volatile float small = 1e-38f;
static volatile sig_atomic_t ticks;
static void tick(int signal) { (void)signal, ticks++; }

int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(page + 4096, 4096, PROT_NONE);
  int fd = memfd_create("file", 0);
  if (ftruncate(fd, 100)) return 1;
  file = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, 0);
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  for (int s = 1; s < 32; s++)
    if (s != SIGCHLD && s != SIGALRM) sigaction(s, &action, 0);

  CASE("read of nothing", (void)none[2]);
  CASE("write to nothing", none[4] = 1);
  CASE("no access", (void)*(volatile char *)(page + 5000));
  CASE("across into no access", *(volatile long *)(page + 4093) = 1);
  CASE("kernel's memory", (void)*(volatile char *)0xffffffff81000000);
  CASE("not canonical", (void)*(volatile char *)0x8000000000001234);
  CASE("not canonical stack", ASM("mov %%rsp,%%rax; mov $0x1234567812345678,%%rsp; push %%rbx; mov %%rax,%%rsp"));
  CASE("beyond the file", file[4500] = 1);
  CASE("read-only", mprotect(page, 4096, PROT_READ); page[7] = 1);
  mprotect(page, 4096, PROT_READ | PROT_WRITE);
  memset(page, 0x90, 4096);
  CASE("not executable", ((void (*)(void))page)());
  mprotect(page, 4096, PROT_READ | PROT_EXEC);
  CASE("code runs off the page", ((void (*)(void))(page + 4000))());
  CASE("jump to nowhere", ((void (*)(void))0x123)());
  CASE("divide by zero", ASM("xor %%ecx,%%ecx; mov $1,%%eax; cltd; idivl %%ecx"));
  CASE("quotient too large", ASM("mov $1,%%ecx; mov $7,%%edx; divl %%ecx"));
  CASE("INT_MIN / -1", ASM("mov $-1,%%ecx; mov $0x80000000,%%eax; cltd; idivl %%ecx"));
  CASE("undefined", ASM("ud2"));
  CASE("undefined too", ASM(".byte 0x0f, 0xff, 0xc0"));
  CASE("LOCK on a register", ASM(".byte 0xf0, 0x01, 0xc0"));
  CASE("breakpoint", ASM("int3"));
  CASE("INT 3, two bytes", ASM(".byte 0xcd, 3"));
  CASE("INT 0x20", ASM("int $0x20"));
  CASE("HLT", ASM("hlt"));
  CASE("IN", ASM("in $0x80,%%al"));
  CASE("CLI", ASM("cli"));
  CASE("MOV from CR0", ASM("mov %%cr0,%%rax"));
  CASE("RDMSR", ASM("rdmsr"));
  CASE("a bad selector", ASM("mov $0x1234,%%eax; mov %%ax,%%ds"));
  CASE("a null stack selector", ASM("xor %%eax,%%eax; mov %%ax,%%ss"));
  CASE("misaligned MOVAPS", ASM("lea -64(%%rsp),%%rax; and $-16,%%rax; movaps 1(%%rax),%%xmm0"));
  CASE("misaligned, AC", ASM("pushf; orl $0x40000,(%%rsp); popf; lea -65(%%rsp),%%rax; or $1,%%rax; mov (%%rax),%%ebx"));
  ASM("pushf; andl $~0x40000,(%%rsp); popf");
  CASE("single step", ASM("pushf; orl $0x100,(%%rsp); popf; nop; nop"));
  printf("TF as pushed: %d\n", (int)(flags >> 8 & 1));
  CASE("goes on after UD2", skip = 2; ASM("ud2"); siglongjmp(back, 1));
  CASE("too deep", {
    volatile char *p = (char *)&fd;
    for (;; p -= 4096) *p = 1;
  });

  CASE("SSE: divide by zero", unmask(FE_DIVBYZERO); one = one / zero);
  CASE("SSE: invalid", unmask(FE_INVALID); one = zero / zero);
  CASE("SSE: overflow", unmask(FE_OVERFLOW); one = huge * huge);
  CASE("SSE: underflow", unmask(FE_UNDERFLOW); one = tiny * tiny);
  CASE("SSE: underflow, float", unmask(FE_UNDERFLOW); small = small * small);
  CASE("SSE: inexact", unmask(FE_INEXACT); one = huge / 3);
  CASE("SSE: conversion", unmask(FE_INVALID); zero = (int)huge; );
  feholdexcept(&(fenv_t){0});
  zero = 0;
  CASE("x87: divide by zero", unmask(FE_DIVBYZERO); ASM("fld1; fldz; fdivrp; fwait"));
  CASE("x87: stack underflow", unmask(FE_INVALID); ASM("fninit; fnstcw (%%rsp); andw $~1,(%%rsp); fldcw (%%rsp); fstp %%st(0); fwait"));
  feholdexcept(&(fenv_t){0});
  ASM("fninit");
  CASE("x87 and SSE go on", one = huge + huge; siglongjmp(back, 1));

  CASE("kill", kill(getpid(), SIGUSR1));
  CASE("abort's signal", raise(SIGABRT));
  CASE("queued", sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 5}));

  /* A blocked signal waits; a pipe without reader; interrupted and restarted calls. */
  sigset_t set, old, waiting;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, &old);
  caught = 0;
  kill(getpid(), SIGUSR1);
  sigpending(&waiting);
  printf("pending %d, caught %d\n", sigismember(&waiting, SIGUSR1), caught);
  CASE("unblocked", sigprocmask(SIG_SETMASK, &old, 0));
  int ends[2];
  if (pipe(ends)) return 1;
  close(ends[0]);
  CASE("broken pipe", if (write(ends[1], "x", 1) < 0) siglongjmp(back, 1));
  sigaction(SIGALRM, &(struct sigaction){.sa_handler = tick}, 0);
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 20000}, {0, 20000}}, 0);
  int interrupted = 0;
  for (int i = 0; i < 5; i++) interrupted += pause() < 0 && errno == EINTR;
  while (ticks < 10) ;
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, 0);
  printf("interrupted %d, ticks %d\n", interrupted, ticks >= 10);

  /* The FPU's state is each process's and each signal handler's own. */
  double x = 1.0 / 3;
  for (int i = 0; i < 4; i++)
    if (!fork()) {
      double y = i;
      for (int j = 0; j < 200000; j++) y = y * 0.999 + x;
      _exit((int)(y * 1e3) & 0x7f);
    }
  int sum = 0, status;
  while (wait(&status) > 0) sum = sum * 131 + WEXITSTATUS(status);
  printf("children %s\n", sum ? "computed" : "did not");

  for (int s = SIGILL; s <= SIGSEGV; s++) {
    if (s == SIGUSR1) continue;
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
      setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
      signal(s, SIG_DFL);
      if (s == SIGSEGV) none[0] = 0;
      if (s == SIGFPE) ASM("xor %%ecx,%%ecx; div %%ecx");
      if (s == SIGILL) ASM("ud2");
      raise(s);
      _exit(0);
    }
    waitpid(child, &status, 0);
    printf("child killed by %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
  }
  return 0;
}
