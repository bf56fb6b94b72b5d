/* vcpu_op, sched_op, timers: what they answer, and whether their events come. */
#include "xen.h"

u32 timer_port[VCPUS], other_port[VCPUS];
static u8 area[PAGE] __attribute__((aligned(4096)));
static s64 op(u32 cmd, u32 vcpu, void *arg) { return H3(VCPU_OP, cmd, vcpu, arg); }
static u32 any_vcpu(void) { return below(3) ? 0 : PICK(1u, 77u, 8192u, 0xffffffffu); }
static void *any_area(void) { return (void *)(below(4) ? (u64)area : PICK(0x1000ul, 0xffff800000000000ul)); }

void vcpu_init(void) {
  for (u32 vcpu = 0; vcpu < vcpus; vcpu++) {
    struct { u32 virq, vcpu, port; } a = {0, vcpu, 0};
    H2(EVENT_CHANNEL_OP, 1, &a);
    timer_port[vcpu] = a.port;
  }
  /* It ticks from the start, until it is told not to. */
  for (u32 i = 0; i < 400000000 && !is_pending(timer_port[0]); i++) asm volatile("pause");
  int ticks = is_pending(timer_port[0]);
  op(7, 0, 0);
  quiet();
  NOTE("ticks", ticks, is_pending(timer_port[0]));
  for (u32 vcpu = 0; vcpu < vcpus; vcpu++) {
    struct { u32 vcpu, port; } b = {vcpu, 0};
    H2(EVENT_CHANNEL_OP, 7, &b);
    other_port[vcpu] = b.port;
  }
}

static void timer_step(void) {
  struct { u64 when; u32 flags; } a = {PICK(0ul, 1ul, 1ul << 60, ~0ul >> 1), PICK(0u, 1u)};
  u32 vcpu = any_vcpu();
  switch (below(4)) {
    case 0: {
      u64 period = PICK(0ul, 1000ul, 999999ul, 1ul << 62, (1ul << 62) + 1, 1ul << 61);
      NOTE("periodic", vcpu, period, op(6, vcpu, below(8) ? (void *)&period : any_area()));
      NOTE("no periodic", op(7, vcpu, 0), op(7, 0, 0));
      break;
    }
    case 1: {
      s64 answer = H1(SET_TIMER_OP, a.when);
      NOTE("set_timer", a.when, answer);
      H1(SET_TIMER_OP, 0);
      break;
    }
    default: {
      s64 answer = op(8, vcpu, below(12) ? (void *)&a : (void *)0x1000);
      NOTE("singleshot", vcpu, a.when, a.flags, answer);
    }
  }
  NOTE("timer", is_pending(timer_port[0]));
  NOTE("no singleshot", op(9, vcpu, 0), op(9, 0, 0));
  quiet();
}

static void block(u64 a, u64 b) { H2(SCHED_OP, 1, 0); }

static void sched_step(void) {
  u32 ports[4] = {other_port[0], timer_port[0], other_port[0], PICK(0xfffffu, 0xffffffffu)};
  struct { u32 *ports; u32 count; u64 timeout; } a = {ports, PICK(1u, 2u, 3u), PICK(1ul, 2ul)};
  int raised = below(2);
  switch (below(8)) {
    case 0: NOTE("yield", H2(SCHED_OP, 0, 0)); return;
    case 1:
      raise_port(other_port[0]);
      if (attempt(block, 0, 0)) NOTE("block", trap.vector, trap.cs, trap.mask);
      else NOTE("block", 0);
      return quiet();
    case 2: {
      struct { u32 id, timeout; } dog = {PICK(1u, 2u, 3u), 0};
      NOTE("watchdog", dog.id, H2(SCHED_OP, 6, &dog));
      dog.id = 0, dog.timeout = 300;
      s64 id = H2(SCHED_OP, 6, &dog);
      dog.id = id, dog.timeout = 0;
      NOTE("watchdog", id, H2(SCHED_OP, 6, &dog), H2(SCHED_OP, 6, &dog), H2(SCHED_OP, 6, 0x1000));
      return;
    }
    case 3: NOTE("no sched_op", H2(SCHED_OP, 8, &a), H2(SCHED_OP, 99, &a), H2(SCHED_OP, 3, 0x1000)); return;
    default:
      if (raised) raise_port(other_port[0]);
      if (below(8) == 0) a.ports[0] = ports[3];
      if (below(8) == 0) a.count = PICK(129u, 4u, 0u);
      if (below(8) == 0) a.ports = (u32 *)PICK(0x1000ul, 0xffff800000000000ul);
      NOTE("poll", raised, a.count, H2(SCHED_OP, 3, &a));
      return quiet();
  }
}

void vcpu_step(void) {
  u32 vcpu = any_vcpu();
  switch (below(8)) {
    case 0: NOTE("is_up", vcpu, op(3, vcpu, 0)); return;
    case 1: NOTE("initialise", op(0, vcpu, (void *)0x1000), op(0, vcpu, start_info), op(1, vcpu, 0)); return;
    case 2: {
      struct { u32 state; u64 since, times[4]; } state = {99};
      void *to = below(4) ? (void *)&state : any_area();
      s64 answer = op(4, vcpu, to);
      NOTE("runstate", vcpu, answer, state.state, state.times[2] == 0);
      return;
    }
    case 3: {
      void *at = any_area();
      int runstate = below(2);
      NOTE("area", vcpu, op(runstate ? 5 : 13, vcpu, &at), op(runstate ? 5 : 13, vcpu, (void *)0x1000));
      at = 0;
      op(5, 0, &at);
      op(13, 0, &at);
      return;
    }
    case 4: {
      struct { u64 mfn; u32 offset, reserved; } info = {PICK(1ul << 40, mfn_of(area)), PICK(4064u, 4095u, 4096u, 4033u, 3u), 0};
      if (info.mfn != 1ul << 40 && info.offset == 3) info.offset = 4095;
      NOTE("vcpu_info", vcpu, info.offset, op(10, vcpu, &info), op(11, vcpu, &info), vcpu ? op(12, vcpu, &info) : 0, op(14, vcpu, &info), op(99, vcpu, &info));
      return;
    }
    case 5: case 6: return timer_step();
    default: return sched_step();
  }
}
