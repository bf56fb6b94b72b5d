/*
 * Processes and what they do to each other: pipes, sockets, shared memory, semaphores, debugging by single steps and
 * breakpoints, coroutines, long jumps, thread cancellation, timers. Prints one line a case.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static void need(int truth, const char *what) {
  if (truth) return;
  printf("failed: %s (%s)\n", what, strerror(errno));
  exit(1);
}
#define NEED(truth) need(truth, #truth)

/** Numbers through a chain of processes, each of which adds one. */
static void chain(void) {
  enum { LENGTH = 20, NUMBERS = 500 };
  int in[2], out[2];
  NEED(!pipe(in));
  int first = in[1], last = in[0];
  for (int i = 0; i < LENGTH; i++) {
    NEED(!pipe(out));
    if (!fork()) {
      int x;
      close(first);
      while (read(last, &x, 4) == 4) x++, NEED(write(out[1], &x, 4) == 4);
      _exit(0);
    }
    close(last), close(out[1]);
    last = out[0];
  }
  long sum = 0;
  int x;
  for (int i = 0; i < NUMBERS; i++) {
    NEED(write(first, &i, 4) == 4);
    NEED(read(last, &x, 4) == 4);
    sum = sum * 7 + x;
  }
  close(first);
  printf("chain: %ld, ends %zd\n", sum, read(last, &x, 4));
  int ended = 0, status;
  while (wait(&status) > 0) ended += WIFEXITED(status);
  printf("ended: %d\n", ended);
}

/** Semaphores and a mutex that several processes share; one dies with the mutex. */
static void shared(void) {
  struct { sem_t a, b; pthread_mutex_t mutex; long counter; } *s =
      mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  sem_init(&s->a, 1, 1), sem_init(&s->b, 1, 0);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&s->mutex, &attributes);
  if (!fork()) {
    for (int i = 0; i < 500; i++) sem_wait(&s->b), s->counter = s->counter * 3 + 1, sem_post(&s->a);
    _exit(0);
  }
  for (int i = 0; i < 500; i++) sem_wait(&s->a), s->counter ^= i, sem_post(&s->b);
  wait(0);
  printf("semaphores: %ld\n", s->counter);
  if (!fork()) pthread_mutex_lock(&s->mutex), _exit(0);
  wait(0);
  int result = pthread_mutex_lock(&s->mutex);
  printf("owner died: %d\n", result == EOWNERDEAD);
  pthread_mutex_consistent(&s->mutex);
  pthread_mutex_unlock(&s->mutex);
}

static void sockets(void) {
  int ends[2], status;
  NEED(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends));
  if (!fork()) {
    char text[100], control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {text, sizeof text};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(ends[1], &message, 0);
    int fd = *(int *)CMSG_DATA(CMSG_FIRSTHDR(&message));
    NEED(write(fd, text, (size_t)size) == size);
    _exit(0);
  }
  int fd = memfd_create("passed", 0);
  char control[CMSG_SPACE(sizeof(int))] = {0}, text[100] = {0};
  struct iovec parts[] = {{"a descriptor ", 13}, {"was passed", 10}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
  *(int *)CMSG_DATA(header) = fd;
  NEED(sendmsg(ends[0], &message, 0) == 23);
  wait(&status);
  NEED(pread(fd, text, 99, 0) == 23);
  printf("sockets: %s\n", text);
}

/** Counts a child's instructions, and stops it at a breakpoint that is written into its code. */
static int subject(int n) {
  int x = 1;
  while (n-- > 0) x = x * 3 + 1;
  return x;
}
static int (*volatile subjectPointer)(int) = subject;

static void debugging(void) {
  int status;
  struct user_regs_struct registers;
  pid_t child = fork();
  if (!child) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    __asm__ volatile("pushq $2; popf; movl $0x12345678,%%eax; movq %%rax, %%xmm7; fninit; fldpi; int3; mov $1000,%%ecx; 1: dec %%ecx; jnz 1b;"
                     "mov $16,%%ecx; lea -128(%%rsp),%%rdi; cld; rep stosb; pushf; pop %%rax; int3" ::: "rax", "rcx", "rdi", "xmm7", "memory");
    _exit(subjectPointer(10) & 0x7f);
  }
  waitpid(child, &status, 0);
  ptrace(PTRACE_GETREGS, child, 0, &registers);
  uint64_t start = registers.rip;
  struct user_fpregs_struct floating;
  ptrace(PTRACE_GETFPREGS, child, 0, &floating);
  printf("stopped by %d, rax %llx, xmm7 %x, st0 %08x%08x\n", WSTOPSIG(status), registers.rax, floating.xmm_space[28],
         floating.st_space[1], floating.st_space[0]);
  int steps = 0, repeats = 0;
  uint64_t sum = 0;
  do {
    ptrace(PTRACE_SINGLESTEP, child, 0, 0);
    waitpid(child, &status, 0);
    uint64_t before = registers.rip;
    ptrace(PTRACE_GETREGS, child, 0, &registers);
    steps++;
    repeats += registers.rip == before;
    sum = sum * 31 + (registers.rip - start) + registers.rcx + (registers.eflags & 0x8d5);
  } while (steps < 5000 && (ptrace(PTRACE_PEEKTEXT, child, registers.rip, 0) & 0xff) != 0xcc);
  printf("steps %d, repeated %d, way %llx\n", steps, repeats, (unsigned long long)sum);
  ptrace(PTRACE_CONT, child, 0, 0);
  waitpid(child, &status, 0);
  ptrace(PTRACE_GETREGS, child, 0, &registers);
  printf("TF as the child sees it: %llu\n", registers.rax >> 8 & 1);

  long text = ptrace(PTRACE_PEEKTEXT, child, subject, 0);
  ptrace(PTRACE_POKETEXT, child, subject, (text & ~0xffL) | 0xcc);
  ptrace(PTRACE_CONT, child, 0, 0);
  waitpid(child, &status, 0);
  ptrace(PTRACE_GETREGS, child, 0, &registers);
  printf("breakpoint: %d, argument %d\n", registers.rip == (uintptr_t)subject + 1, (int)registers.rdi);
  ptrace(PTRACE_POKETEXT, child, subject, text);
  registers.rip--;
  registers.rdi = 5;
  ptrace(PTRACE_SETREGS, child, 0, &registers);
  int calls = 0;
  for (;;) {
    ptrace(PTRACE_SYSCALL, child, 0, 0);
    waitpid(child, &status, 0);
    if (!WIFSTOPPED(status)) break;
    calls++;
  }
  printf("calls %d, result %d, wanted %d\n", calls, WEXITSTATUS(status), subject(5) & 0x7f);
}

static ucontext_t home, routines[3];
static double numbers[3];
static void routine(int i) {
  for (int turn = 0; turn < 100; turn++) {
    numbers[i] = numbers[i] * 0.9 + i + turn / 3.0;
    swapcontext(&routines[i], &routines[(i + 1) % 3]);
  }
}

static void coroutines(void) {
  static char stacks[3][65536];
  for (int i = 0; i < 3; i++) {
    getcontext(&routines[i]);
    routines[i].uc_stack = (stack_t){.ss_sp = stacks[i], .ss_size = sizeof stacks[i]};
    routines[i].uc_link = &home;
    makecontext(&routines[i], (void (*)(void))routine, 1, i);
  }
  swapcontext(&home, &routines[0]);
  printf("coroutines: %a %a %a\n", numbers[0], numbers[1], numbers[2]);
}

static jmp_buf point;
static void dive(int depth) {
  volatile char use[100];
  use[depth % 100] = 1;
  if (depth <= 0) longjmp(point, 5);
  dive(depth - 1);
  use[0]++;
}

static void jumps(void) {
  volatile int turns = 0;
  int result = setjmp(point);
  if (turns++ < 100) dive(turns * 3);
  printf("jumps: %d, last result %d\n", turns, result);
}

static int cleaned;
static _Thread_local int own = 3;
static void clean(void *argument) { cleaned += *(int *)argument; }
static void *sleeper(void *argument) {
  pthread_cleanup_push(clean, argument);
  own += *(int *)argument;
  for (;;) sleep(100);
  pthread_cleanup_pop(0);
  return 0;
}
static pthread_barrier_t barrier;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static long table[16];
static void *reader(void *argument) {
  long sum = 0;
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < 300; i++) {
    if (i % 10 == 0) {
      pthread_rwlock_wrlock(&lock);
      for (int j = 0; j < 16; j++) table[j]++;
      pthread_rwlock_unlock(&lock);
    }
    pthread_rwlock_rdlock(&lock);
    for (int j = 1; j < 16; j++) sum += table[j] != table[0];
    pthread_rwlock_unlock(&lock);
    if (i % 50 == 0) sched_yield();
  }
  return (void *)(sum + *(long *)argument);
}

static void threads(void) {
  pthread_t thread[6];
  int values[] = {1, 10, 100, 1000};
  for (int i = 0; i < 4; i++) pthread_create(&thread[i], 0, sleeper, &values[i]);
  usleep(20000);
  void *result;
  int cancelled = 0;
  for (int i = 0; i < 4; i++) {
    pthread_cancel(thread[i]);
    pthread_join(thread[i], &result);
    cancelled += result == PTHREAD_CANCELED;
  }
  printf("cancelled %d, cleaned %d, own %d\n", cancelled, cleaned, own);
  pthread_barrier_init(&barrier, 0, 6);
  long torn = 0, zero = 0;
  for (int i = 0; i < 6; i++) pthread_create(&thread[i], 0, reader, &zero);
  for (int i = 0; i < 6; i++) pthread_join(thread[i], &result), torn += (long)result;
  printf("readers and writers: %ld, torn %ld\n", table[7], torn);
}

static void events(void) {
  int events = epoll_create1(0), counter = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
  NEED(!epoll_ctl(events, EPOLL_CTL_ADD, counter, &(struct epoll_event){EPOLLIN, {.fd = counter}}));
  NEED(!epoll_ctl(events, EPOLL_CTL_ADD, timer, &(struct epoll_event){EPOLLIN, {.fd = timer}}));
  timerfd_settime(timer, 0, &(struct itimerspec){{0, 5000000}, {0, 5000000}}, 0);
  if (!fork()) {
    uint64_t one = 1;
    for (int i = 0; i < 10; i++) NEED(write(counter, &one, 8) == 8), usleep(1000);
    _exit(0);
  }
  uint64_t counted = 0, expired = 0, value;
  while (counted < 10 || expired < 10) {
    struct epoll_event event;
    NEED(epoll_wait(events, &event, 1, 10000) == 1);
    NEED(read(event.data.fd, &value, 8) == 8);
    *(event.data.fd == timer ? &expired : &counted) += value;
  }
  wait(0);
  printf("events: %d\n", counted == 10 && expired >= 10);
}

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/** Time never goes back, by the vDSO or by system calls, and a sleep lasts as long as it should. */
static void clocks(void) {
  struct timespec a = {0}, b;
  int back = 0;
  for (int i = 0; i < 20000; i++) {
    if (i % 10) clock_gettime(CLOCK_MONOTONIC, &b);
    else syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &b);
    back += b.tv_sec < a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec < a.tv_nsec);
    a = b;
  }
  double before = now(CLOCK_MONOTONIC), date = now(CLOCK_REALTIME), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
  usleep(300000);
  double slept = now(CLOCK_MONOTONIC) - before;
  date = now(CLOCK_REALTIME) - date, cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  printf("clocks: back %d, slept %d, date %d, idle %d\n", back, slept >= 0.3 && slept < 5, date >= 0.29 && date < 5,
         cpu < 0.25);
}

/** vfork, then the same program again; arguments and environment arrive. */
static void programs(char *self) {
  for (volatile int i = 0; i < 3; i++) {
    char number[12];
    sprintf(number, "%d", i);
    pid_t child = vfork();
    if (!child) {
      execle(self, self, "again", number, (char *)0, (char *[]){"X=yes", 0});
      _exit(99);
    }
    int status;
    waitpid(child, &status, 0);
    printf("program: %d\n", WEXITSTATUS(status));
  }
}

int main(int argc, char **argv) {
  setvbuf(stdout, 0, _IONBF, 0);
  if (argc == 3) return atoi(argv[2]) * 10 + (getenv("X") && !getenv("HOME"));
  chain();
  shared();
  sockets();
  debugging();
  coroutines();
  jumps();
  threads();
  events();
  clocks();
  programs("/proc/self/exe");
  return 0;
}
