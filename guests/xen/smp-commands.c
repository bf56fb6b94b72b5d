/* What vCPUs ask for about one another: vcpu_op, events bound to any of them, upcalls and NMIs, TLB flushes of some. */
#include "smp.h"

void return_here(void);
static u8 info_pages[VCPUS][PAGE] __attribute__((aligned(4096)));

/* A vCPU that waits, or one that stops itself, or the first one, is down for a while. */
static void down(void) {
  u32 vcpu = any_started();
  if (vcpu == playing) return;
  NOTE("down", vcpu_op(2, vcpu, 0), vcpu_op(3, vcpu, 0), state_of(vcpu), vcpu_op(2, vcpu, 0));
  if (vcpu && below(2)) event_op(4, &wake_port[vcpu]);
  NOTE("still down", vcpu_op(3, vcpu, 0), state_of(vcpu), areas[vcpu].state);
  if (below(3) == 0) {
    struct { u64 mfn; u32 offset, reserved; } info = {mfn_of(info_pages[vcpu]), 64 * below(8), 0};
    s64 answer = vcpu_op(10, vcpu, &info);
    NOTE("vcpu_info", vcpu, answer);
    if (answer == 0) {
      infos[vcpu] = (void *)(info_pages[vcpu] + info.offset);
      NOTE("info", infos[vcpu]->pending, infos[vcpu]->mask, infos[vcpu]->selector);
    }
  }
  NOTE("up", vcpu_op(1, vcpu, 0), vcpu_op(3, vcpu, 0));
  if (vcpu) settle(vcpu);
}

static void info_step(void) {
  u32 vcpu = any_vcpu();
  struct { u64 mfn; u32 offset, reserved; } info = {mfn_of(info_pages[vcpu & 7]), 64 * below(64), 0};
  if (below(3) == 0) info.offset = PICK(4064u, 4095u, 4096u, 4033u);
  if (below(3) == 0) info.mfn = PICK(1ul << 40, mfn_of((void *)start_info->pt_base));
  /* One that is not up, or the caller. */
  s64 answer = vcpu_op(10, vcpu, below(10) ? &info : any_area());
  NOTE("vcpu_info", vcpu, info.offset, answer);
  if (answer) return;
  infos[vcpu] = (void *)(info_pages[vcpu] + info.offset);
  NOTE("info", infos[vcpu]->pending, infos[vcpu]->mask, infos[vcpu]->selector, vcpu_op(10, vcpu, &info));
}

static void area_step(void) {
  u32 vcpu = any_vcpu();
  void *at = below(6) ? &areas[vcpu & 7] : any_area();
  if (vcpu < vcpus && at == &areas[vcpu]) areas[vcpu & 7].state = 77;
  s64 answer = vcpu_op(5, vcpu, &at);
  NOTE("runstate area", vcpu, answer, areas[vcpu & 7].state);
  struct runstate state = {99};
  answer = vcpu_op(4, vcpu, below(8) ? &state : any_area());
  NOTE("runstate", answer, state.state);
  at = 0;
  if (below(2)) vcpu_op(5, vcpu, &at);
  static u8 time[64];
  at = below(2) ? time : any_area();
  NOTE("time area", vcpu_op(13, vcpu, &at));
  at = 0;
  vcpu_op(13, vcpu, &at);
}

static void timers_step(void) {
  u32 vcpu = any_vcpu();
  struct { u64 when; u32 flags; } a = {PICK(0ul, 1ul, 1ul << 60, ~0ul >> 1), PICK(0u, 1u)};
  u64 period = PICK(0ul, 1000ul, 999999ul, 1ul << 62, (1ul << 62) + 1, 1ul << 61);
  NOTE("periodic", vcpu, period, vcpu_op(6, vcpu, below(8) ? (void *)&period : any_area()), vcpu_op(7, vcpu, 0));
  NOTE("singleshot", vcpu, vcpu_op(8, vcpu, below(4) ? (void *)&a : any_area()), vcpu_op(9, vcpu, 0));
  if (vcpu < vcpus) NOTE("timer", is_pending(timer_port[vcpu]));
  if (vcpu == playing) NOTE("set_timer", H1(SET_TIMER_OP, 1ul << 60), H1(SET_TIMER_OP, 0));
  quiet();
}

void smp_event_step(void) {
  u32 port = any_port(), vcpu = any_vcpu();
  switch (below(5)) {
    case 0: {
      struct { u32 vcpu, port; } a = {vcpu, 0};
      s64 answer = event_op(7, &a);
      NOTE("bind_ipi", vcpu, answer);
      if (answer == 0 && below(2)) NOTE("close", event_op(3, &a.port));
      else if (answer == 0) {
        NOTE("send", event_op(4, &a.port));
        note_event(a.port);
        event_op(3, &a.port);
      }
      return;
    }
    case 1: {
      struct { u32 virq, vcpu, port; } a = {PICK(0u, 1u, 1u, 4u, 13u, 24u), vcpu, 0};
      s64 answer = event_op(1, &a);
      NOTE("bind_virq", a.virq, vcpu, answer);
      if (answer == 0) event_op(3, &a.port);
      return;
    }
    case 2: case 3: {
      struct { u32 port, vcpu; } a = {below(6) ? port : PICK(timer_port[0], other_port[1], 0xfffffu), vcpu};
      NOTE("bind_vcpu", vcpu, event_op(8, &a));
      event_op(4, &port);
      return note_event(port);
    }
    default: {
      struct { u16 dom; u32 port, status, vcpu; u64 u; } a = {DOMID_SELF, port};
      s64 answer = event_op(5, &a);
      NOTE("status", answer, answer == 0 ? a.status : 0, answer == 0 ? a.vcpu : 0);
      raise_port(port);
      return note_event(port);
    }
  }
}

static void block(u64 a, u64 b) { H2(SCHED_OP, 1, 0); }
static void nmi(u64 a, u64 b) { vcpu_op(11, a, 0); }

static void set_callbacks(void) {
  u32 masks = below(2);
  for (u16 type = 0; type < 3; type++) {
    struct { u16 type, flags; u64 address; } a = {type, masks, (u64)callbacks + 16 * type};
    H2(CALLBACK_OP, 0, &a);
  }
  struct { u16 type, flags; u64 address; } a = {4, 0, (u64)stubs + 16 * 2};
  H2(CALLBACK_OP, 0, &a);
}

/* After an NMI others wait for the hypercall iret. */
static void let_in(u64 a, u64 b) { return_here(); }

void ready(void) {
  set_callbacks();
  if (attempt(let_in, 0, 0)) return_here();
}

/* An event, or an NMI, for itself. */
static void upcall(void) {
  if (below(4)) ready();
  else set_callbacks();
  quiet();
  if (below(2)) {
    raise_port(other_port[playing]);
    if (attempt(block, 0, 0)) NOTE("block", trap.vector, trap.cs, trap.mask);
  } else {
    if (below(2)) raise_port(other_port[playing]), infos[playing]->mask = 1;
    if (attempt(nmi, playing, 0)) NOTE("nmi", trap.vector, trap.cs, trap.ss, trap.mask, trap.rflags & 0xfe772a);
  }
  quiet();
}

static void flush_step(void) {
  u64 mask = PICK(0ul, 1ul, 2ul, 0xfful, ~0ul);
  u64 at = below(3) ? (u64)&mask : (u64)any_area();
  struct { u32 cmd, pad; u64 arg1, arg2; } a = {PICK(8u, 9u, 10u, 11u), 0, (u64)pool[0], at};
  NOTE("ext", a.cmd, H4(MMUEXT_OP, &a, 1, 0, DOMID_SELF));
  u32 kind = PICK(1u, 2u);
  at = below(3) ? (u64)&mask : PICK(0x1000ul, 0xffff800000000000ul, 4ul);
  NOTE("va", kind, H3(UPDATE_VA_MAPPING, scratch[7], mfn_of(scratch[7]) * PAGE | 3, at | kind));
}

void command_step(void) {
  switch (below(9)) {
    case 0: case 1: return down();
    case 2: return info_step();
    case 3: case 4: return area_step();
    case 5: return timers_step();
    case 6: {
      u32 vcpu = any_vcpu(), no = PICK(14u, 99u, 15u);
      NOTE("vcpu_op", vcpu, vcpu_op(3, vcpu, 0), vcpu_op(11, vcpu, info_pages), vcpu_op(no, vcpu, 0));
      if (vcpu >= vcpus || !(initialised >> vcpu & 1)) NOTE("up", vcpu_op(1, vcpu, 0));
      return;
    }
    case 7: return upcall();
    default: return flush_step();
  }
}

void run_state(void) { NOTE("own state", state_of(playing), areas[playing].state); }
