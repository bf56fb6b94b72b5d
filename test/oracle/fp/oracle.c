/*
 * The host's own CPU as an oracle for floating point: reads cases from standard input, runs each one's instruction
 * with the case's x87, SSE and general register state, writes the state that results. See oracle.ts.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

/* Input and output have the same form. */
struct state {
  uint8_t code[16];     /* in: the instruction; its memory operand is [rdi] */
  uint32_t length;      /* in: its length */
  uint32_t trap;        /* out: vector of the exception, 0 none */
  uint64_t rax, rcx, flags;
  uint64_t code_at, mem_at; /* out: address of the instruction and of its memory operand */
  uint8_t mem[512] __attribute__((aligned(16)));
  uint8_t fx[512] __attribute__((aligned(16)));  /* an FXSAVE64 image */
};

_Static_assert(offsetof(struct state, mem) == 64 && offsetof(struct state, fx) == 576, "layout");
_Static_assert(sizeof(struct state) == 1088, "layout");

static uint8_t *page;
static struct state *current;
static sigjmp_buf back;
static const uint32_t default_mxcsr = 0x1f80;

void execute(struct state *s, void *code);
__asm__(
    ".text\n"
    "execute:\n"
    "  push %rbx\n"
    "  push %rbp\n"
    "  sub $8, %rsp\n"
    "  mov %rdi, %rbx\n"
    "  lea 64(%rbx), %rdi\n"
    "  fxrstor64 576(%rbx)\n"
    "  mov 24(%rbx), %rax\n"
    "  mov 32(%rbx), %rcx\n"
    "  pushq 40(%rbx)\n"
    "  popfq\n"
    "  call *%rsi\n"
    "  pushfq\n"
    "  popq 40(%rbx)\n"
    "  cld\n"
    "  mov %rax, 24(%rbx)\n"
    "  mov %rcx, 32(%rbx)\n"
    "  fxsave64 576(%rbx)\n"
    "  add $8, %rsp\n"
    "  pop %rbp\n"
    "  pop %rbx\n"
    "  ret\n");

static void trapped(int number, siginfo_t *info, void *context) {
  (void)number, (void)info;
  ucontext_t *u = context;
  current->trap = u->uc_mcontext.gregs[REG_TRAPNO];
  current->rax = u->uc_mcontext.gregs[REG_RAX];
  current->rcx = u->uc_mcontext.gregs[REG_RCX];
  current->flags = u->uc_mcontext.gregs[REG_EFL];
  memcpy(current->fx, u->uc_mcontext.fpregs, 512);
  siglongjmp(back, 1);
}

int main(void) {
  static struct state batch[256];
  struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGFPE, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGILL, &action, NULL);
  page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 2;
  for (;;) {
    size_t count = fread(batch, sizeof *batch, 256, stdin);
    if (count == 0) break;
    for (volatile size_t i = 0; i < count; i++) {
      current = &batch[i];
      if (memcmp(page, current->code, current->length)) memcpy(page, current->code, current->length);
      page[current->length] = 0xc3;
      current->trap = 0;
      current->code_at = (uintptr_t)page;
      current->mem_at = (uintptr_t)current->mem;
      if (!sigsetjmp(back, 0)) execute(current, page);
      __asm__ volatile("fninit; ldmxcsr %0" ::"m"(default_mxcsr));
    }
    fwrite(batch, sizeof *batch, count, stdout);
  }
  return 0;
}
