/* Several vCPUs: each plays what one vCPU plays, and one that runs is stopped, sent an event or an NMI. */
#include "smp.h"

struct runstate areas[VCPUS];
static volatile struct { void (*step)(void); u32 busy; } work[VCPUS];
u32 wake_port[VCPUS], started, initialised;

s64 vcpu_op(u32 cmd, u32 vcpu, void *arg) { return H3(VCPU_OP, cmd, vcpu, arg); }
s64 event_op(u32 cmd, void *arg) { return H2(EVENT_CHANNEL_OP, cmd, arg); }
void yield(void) { H2(SCHED_OP, 0, 0); }
int is_started(u32 vcpu) { return started >> vcpu & 1; }
u32 any_started(void) {
  u32 vcpu = below(vcpus);
  while (!is_started(vcpu)) vcpu = (vcpu + 1) % vcpus;
  return vcpu;
}
u32 any_vcpu(void) { return below(12) ? below(vcpus) : PICK(vcpus, 77u, 8192u, 0xffffffffu); }
void *any_area(void) { return (void *)PICK(0x1000ul, 0xffff800000000000ul, 0x800000000000ul); }

/* Ports by which vCPUs are told to work, below those that are counted: they stay masked, and are polled. */
void smp_ports(void) {
  while (vcpus < VCPUS && vcpu_op(3, vcpus, 0) >= 0) vcpus++;
  for (u32 vcpu = 0; vcpu < vcpus; vcpu++) {
    struct { u32 vcpu, port; } a = {vcpu, 0};
    event_op(7, &a);
    wake_port[vcpu] = a.port;
  }
}

void smp_init(void) {
  started = initialised = 1;
  NOTE("vcpus", vcpus, vcpu_op(3, vcpus, 0));
  for (u32 vcpu = 1; vcpu < vcpus; vcpu++) NOTE("info", infos[vcpu]->pending, infos[vcpu]->mask, infos[vcpu]->selector);
}

u32 state_of(u32 vcpu) {
  struct runstate now;
  return vcpu_op(4, vcpu, &now) ? 99 : now.state;
}

/* It waits, as everybody can see. */
void settle(u32 vcpu) {
  while (work[vcpu].busy || state_of(vcpu) != 2) yield();
}

void secondary(void) {
  u32 vcpu = playing;
  asm volatile("mov %0, %%es; mov %0, %%ds; mov %0, %%fs; mov %0, %%gs" : : "r"(0));
  H1(FPU_TASKSWITCH, 0);
  for (;;) {
    work[vcpu].busy = 0;
    while (!work[vcpu].busy) {
      struct { u32 *ports; u32 count; u64 timeout; } poll = {&wake_port[vcpu], 1, 0};
      H2(SCHED_OP, 3, &poll);
      clear_port(wake_port[vcpu]);
    }
    work[vcpu].step();
  }
}

void go(u32 vcpu, void (*step)(void)) {
  playing = vcpu;
  work[vcpu].step = step;
  work[vcpu].busy = 1;
  event_op(4, &wake_port[vcpu]);
}

/* One plays, all others wait. */
static void on(u32 vcpu, void (*step)(void)) {
  if (vcpu == 0) return step();
  go(vcpu, step);
  settle(vcpu);
  playing = 0;
}

void expect_work(u32 vcpu) { work[vcpu].busy = 1; }

static s64 answers[2];
static void down_self(void) {
  answers[0] = vcpu_op(2, playing, 0);
  answers[1] = vcpu_op(3, playing, 0);
}

static void stop_itself(u32 vcpu) {
  go(vcpu, down_self);
  while (vcpu_op(3, vcpu, 0)) yield();
  NOTE("stopped", vcpu, state_of(vcpu), vcpu_op(1, vcpu, 0));
  settle(vcpu);
  NOTE("down", answers[0], answers[1]);
  playing = 0;
}

static volatile int spins;
static void spin(u64 a, u64 b) {
  spins = 1;
  while (spins) asm volatile("pause");
}

static void spin_step(void) {
  int came = attempt(spin, 0, 0);
  NOTE("spun", came, came ? trap.vector : 0, came ? trap.mask : 0);
}

/* One that runs is stopped, sent an event or an NMI. */
static void running_step(u32 vcpu) {
  spins = 0;
  on(vcpu, ready);
  quiet();
  u32 what = below(4);
  NOTE("running", what);
  if (what == 3) infos[vcpu]->mask = 0;
  go(vcpu, spin_step);
  while (!spins) yield();
  switch (what) {
    case 0: NOTE("down", vcpu_op(2, vcpu, 0), vcpu_op(3, vcpu, 0), state_of(vcpu), vcpu_op(1, vcpu, 0)); break;
    case 1: vcpu_op(11, vcpu, 0); break;
    case 2: NOTE("state", vcpu_op(3, vcpu, 0), state_of(vcpu)); break;
    default: raise_port(other_port[vcpu]);
  }
  if (what == 0 || what == 2) spins = 0;
  settle(vcpu);
  playing = 0;
  quiet();
}

void smp_step(void) {
  static void (*const steps[])(void) = {cpu_step, event_step, user_step, grant_step, mmu_step, command_step, command_step,
                                        smp_event_step, smp_event_step, run_state};
  switch (below(16)) {
    case 0: if (initialised + 1 != 1u << vcpus || below(8) == 0) return initialise(); break;
    case 1: {
      u32 vcpu = any_started();
      return vcpu ? stop_itself(vcpu) : (void)0;
    }
    case 2: {
      u32 vcpu = any_started();
      return vcpu ? running_step(vcpu) : (void)0;
    }
    default: ;
  }
  u32 vcpu = any_started();
  void (*step)(void) = steps[below(sizeof steps / sizeof *steps)];
  NOTE("vcpu", vcpu);
  on(vcpu, step);
  /* What it did may have woken others. */
  for (u32 i = 1; i < vcpus; i++)
    if (is_started(i)) settle(i), NOTE("area", areas[i].state);
}

static void clean(void) {
  cpu_end();
  set_user_root(0);
}

void smp_end(void) {
  for (u32 vcpu = 1; vcpu < vcpus; vcpu++)
    if (is_started(vcpu)) on(vcpu, clean);
}
