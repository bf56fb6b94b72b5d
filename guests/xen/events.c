/* Event channels between the domain and itself. Ports are told from the first that is free. */
#include "xen.h"

static u32 base;
u32 own_domid;
struct channel { u32 status, other; };

static s64 op(u32 cmd, void *arg) { return H2(EVENT_CHANNEL_OP, cmd, arg); }
extern u8 shared_page[];

void event_init(void) {
  struct { u16 dom, remote; u32 port; } unbound = {DOMID_SELF, DOMID_SELF, 0};
  if (op(6, &unbound)) print("alloc_unbound failed\n");
  base = unbound.port;
  struct { u16 dom; u32 port, status, vcpu; u64 u; } status = {DOMID_SELF, base};
  op(5, &status);
  own_domid = (u16)status.u;
  op(3, &base);
}

#define LIMIT 24

static int pending(u32 port) {
  u64 *bits = (u64 *)(shared_page + 0x800);
  return bits[port / 64] >> port % 64 & 1;
}

void event_step(void) {
  u32 port = base + below(LIMIT);
  switch (below(9)) {
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
      NOTE("send", port - base, answer, pending(port));
      return;
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
      u32 cmd = PICK(3u, 9u);
      NOTE(cmd == 3 ? "close" : "unmask", port - base, op(cmd, &port));
      return;
    }
    default: {
      struct { u32 port, vcpu; } a = {port, PICK(0u, 0u, 1u, 99u)};
      if (below(4) == 0) {
        struct { u32 port, priority; } b = {port, 3};
        NOTE("priority", op(13, &b));
      } else if (a.vcpu != 1) NOTE("bind_vcpu", port - base, a.vcpu, op(8, &a));
    }
  }
}

void event_end(void) {
  for (u32 port = base; port < base + LIMIT; port++) op(3, &port);
  for (int i = 0; i < 64; i++) ((u64 *)(shared_page + 0x800))[i] = 0;
}
