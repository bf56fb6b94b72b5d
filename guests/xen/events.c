/* Event channels between the domain and itself. Ports are told from the first that is free. */
#include "xen.h"

static u32 base;
u32 own_domid;
struct channel { u32 status, other; };

static s64 op(u32 cmd, void *arg) { return H2(EVENT_CHANNEL_OP, cmd, arg); }

/* The ports of the test: those of vCPUs first, which are somebody else's and stay, and as many as are played with. */
#define KEPT (3 * vcpus)
#define LIMIT (KEPT + 21)
#define PENDING 0x80000000u
#define MASKED 0x40000000u
#define LINKED 0x20000000u
#define LINK 0x1ffffu

static volatile u64 *const bits = (u64 *)(shared_page + 0x800), *const masks = (u64 *)(shared_page + 0xa00);
/* The FIFO ABI: control blocks (ready, reserved, 16 heads) and the first page of words. */
static volatile u32 controls[VCPUS][PAGE / 4] __attribute__((aligned(4096))), words[PAGE / 4] __attribute__((aligned(4096)));
static int fifo;

static void fifo_init(void) {
  struct { u64 gfn; u32 offset, vcpu; u8 link_bits, pad[7]; } a = {mfn_of((void *)controls[0]), 4, 0};
  struct { u64 gfn; } b = {mfn_of((void *)words)}, bad = {1ul << 40};
  NOTE("no array", op(12, &b), op(11, &a));
  a.offset = 4032;
  NOTE("init_control", op(11, &a));
  a.offset = 0, a.vcpu = 77;
  NOTE("init_control", op(11, &a));
  a.vcpu = 0, a.gfn = bad.gfn;
  NOTE("init_control", op(11, &a));
  a.gfn = mfn_of((void *)controls[0]);
  NOTE("init_control", op(11, &a), a.link_bits, op(11, &a));
  for (a.vcpu = 1; a.vcpu < vcpus; a.vcpu++) {
    a.gfn = mfn_of((void *)controls[a.vcpu]);
    NOTE("init_control", a.vcpu, op(11, &a), op(11, &a));
  }
  /* Nobody unmasks what the builder made. */
  for (u32 i = 0; i < base; i++) words[i] = MASKED;
  NOTE("expand_array", op(12, &bad), op(12, &b));
}

void event_init(u32 with_fifo) {
  struct { u16 dom, remote; u32 port; } unbound = {DOMID_SELF, DOMID_SELF, 0};
  if (op(6, &unbound)) print("alloc_unbound failed\n");
  base = unbound.port;
  struct { u16 dom; u32 port, status, vcpu; u64 u; } status = {DOMID_SELF, base};
  op(5, &status);
  own_domid = (u16)status.u;
  op(3, &base);
  masks[0] |= (1ul << base) - 1;
  if ((fifo = with_fifo)) fifo_init();
}

int is_pending(u32 port) { return fifo ? words[port] >> 31 : bits[port / 64] >> port % 64 & 1; }

/* What the guest would do in its upcall: everything that is in a queue is taken. */
void quiet(void) {
  for (u32 i = 0; i < 64; i++) bits[i] = 0;
  for (u32 vcpu = 0; vcpu < vcpus; vcpu++) {
    infos[vcpu]->mask = 1;
    infos[vcpu]->pending = 0;
    infos[vcpu]->selector = 0;
    if (!fifo) continue;
    volatile u32 *control = controls[vcpu];
    control[0] = 0;
    for (u32 queue = 0; queue < 16; queue++) {
      for (u32 port = control[2 + queue], next; port; port = next) {
        next = words[port] & LINK;
        words[port] &= MASKED;
      }
      control[2 + queue] = 0;
    }
  }
}

void raise_port(u32 port) {
  if (fifo) words[port] &= ~MASKED;
  else masks[port / 64] &= ~(1ul << port % 64);
  op(4, &port);
}

static s64 number(u32 port) { return port ? (s64)port - base : 0x100; }

void clear_port(u32 port) {
  if (fifo) words[port] &= ~PENDING;
  else asm volatile("lock btrq %1, (%0)" : : "r"(bits), "r"((u64)port) : "memory");
}

/* How an event is shown: bits, or queues. */
void note_event(u32 port) {
  for (u32 vcpu = 0; vcpu < vcpus; vcpu++) {
    volatile struct vcpu_info *info = infos[vcpu];
    if (!fifo) {
      NOTE("event", is_pending(port), masks[port / 64] >> port % 64 & 1, info->pending, info->selector);
      continue;
    }
    u32 word = words[port];
    volatile u32 *control = controls[vcpu];
    NOTE("event", word >> 28, number(word & LINK), info->pending, control[0]);
    for (u32 queue = 0; queue < 16; queue++)
      if (control[0] >> queue & 1) NOTE("head", queue, number(control[2 + queue]));
  }
}

u32 any_port(void) { return base + KEPT + below(LIMIT - KEPT); }

static void mask_step(u32 port) {
  int on = below(2);
  if (fifo) words[port] = on ? words[port] | MASKED : words[port] & ~MASKED;
  else masks[port / 64] = on ? masks[port / 64] | 1ul << port % 64 : masks[port / 64] & ~(1ul << port % 64);
  NOTE("mask", port - base, on);
}


void event_step(void) {
  u32 port = base + below(LIMIT);
  switch (below(12)) {
    case 9: return mask_step(port);
    case 10: return below(4) ? note_event(port) : quiet();
    case 11: {
      raise_port(port);
      return note_event(port);
    }
    case 0: {
      struct { u16 dom, remote; u32 port; } a = {DOMID_SELF, PICK(DOMID_SELF, DOMID_SELF, 0x7ff4), 0};
      s64 answer = op(6, &a);
      NOTE("alloc_unbound", answer, answer == 0 ? a.port - base : 0);
      if (answer == 0 && a.port >= base + LIMIT) op(3, &a.port);
      return;
    }
    case 1: {
      struct { u16 dom; u32 remote, local; } a = {DOMID_SELF, port, 0};
      s64 answer = op(0, &a);
      NOTE("bind_interdomain", port - base, answer, answer == 0 ? a.local - base : 0);
      if (answer == 0 && a.local >= base + LIMIT) op(3, &a.local);
      return;
    }
    case 2: {
      struct { u32 vcpu, port; } a = {PICK(0u, 0u, 0u, 1u, 77u), 0};
      s64 answer = op(7, &a);
      NOTE("bind_ipi", answer, answer == 0 ? a.port - base : 0);
      if (answer == 0 && a.port >= base + LIMIT) op(3, &a.port);
      return;
    }
    case 3: {
      struct { u32 virq, vcpu, port; } a = {PICK(1u, 13u, 24u, 99u), PICK(0u, 0u, 77u), 0};
      s64 answer = op(1, &a);
      NOTE("bind_virq", a.virq, answer, answer == 0 ? a.port - base : 0);
      if (answer == 0 && a.port >= base + LIMIT) op(3, &a.port);
      return;
    }
    case 4: case 5: {
      s64 answer = op(4, &port);
      NOTE("send", port - base, answer);
      return note_event(port);
    }
    case 6: {
      struct { u16 dom; u32 port, status, vcpu; union { u64 word; struct channel channel; } u; } a = {DOMID_SELF, port};
      s64 answer = op(5, &a);
      /* The domain's own number, and ports, mean what they mean here. */
      s64 what = a.status == 2 ? a.u.channel.other - base : a.status == 4 ? (s64)(u32)a.u.word : 0;
      NOTE("status", port - base, answer, answer == 0 ? a.status : 0, answer == 0 ? what : 0);
      return;
    }
    case 7: {
      u32 cmd = PICK(3u, 9u, 9u);
      if (cmd == 3 && port - base < KEPT) return;
      NOTE(cmd == 3 ? "close" : "unmask", port - base, op(cmd, &port));
      return note_event(port);
    }
    default: {
      struct { u32 port, vcpu; } a = {port, PICK(0u, 0u, 1u, 99u)};
      if (below(4) == 0) {
        struct { u32 port, priority; } b = {port, PICK(0u, 3u, 7u, 15u, 16u)};
        NOTE("priority", op(13, &b));
      } else if (a.vcpu != 1) NOTE("bind_vcpu", port - base, a.vcpu, op(8, &a));
    }
  }
}

void event_end(void) {
  for (u32 port = base + KEPT; port < base + LIMIT; port++) op(3, &port);
  quiet();
  for (u32 port = base; port < base + LIMIT; port++)
    if (fifo) words[port] = 0;
    else masks[port / 64] &= ~(1ul << port % 64);
}
