/* How vCPUs begin: in states good, odd and bad (struct vcpu_guest_context). */
#include "smp.h"

extern u8 begin[];
extern u64 entered[], begin_stack;
static u8 stacks[VCPUS][4 * PAGE] __attribute__((aligned(4096)));
static u64 gs_area[2] = {0x1122334455667788, 0x99};
static u8 context[5168] __attribute__((aligned(16)));
#define AT(type, offset) (*(type *)(context + (offset)))

static void good_context(u32 vcpu) {
  for (u32 i = 0; i < sizeof context; i++) context[i] = 0;
  u64 stack = (u64)stacks[vcpu] + sizeof stacks[vcpu] - 256;
  u64 root = ((u64 *)start_info->mfn_list)[((u64)start_info->pt_base - VIRT_BASE) / PAGE] * PAGE;
  entered[0] = 0;
  AT(u64, 0x200) = PICK(4ul, 4ul, 0ul) | PICK(0ul, 8ul, 0x10ul) | PICK(0ul, 0x20ul) | PICK(0ul, 1ul);
  /* x87 control word, MXCSR. */
  AT(u16, 0) = PICK(0x37f, 0x27f, 0x372);
  AT(u32, 24) = PICK(0x1f80u, 0x9fc0u);
  for (u32 i = 0; i < 15; i++) AT(u64, 0x208 + 8 * i) = 0x100 + i;
  AT(u64, 0x288) = (u64)begin;
  AT(u64, 0x290) = PICK(0xe033ul, 0xe033ul, 0xe030ul, 0xe031ul);
  AT(u64, 0x298) = PICK(0x202ul, 2ul, 0xad7ul, 0x3202ul, 0x40202ul, 0x302ul);
  AT(u64, 0x2a0) = stack;
  AT(u64, 0x2a8) = PICK(0xe02bul, 0xe02bul, 0xe028ul);
  for (u32 i = 0; i < 4; i++) AT(u64, 0x2b0 + 8 * i) = PICK(0ul, 0ul, 0ul, 0xe02bul, 3ul);
  for (u32 i = 0; i < 256; i++) AT(struct trap_info, 0x2d0 + 16 * i) = trap_table[i];
  AT(u64, 0x1368) = PICK(0xe02bul, 0ul, 0x13ul);
  AT(u64, 0x1370) = stack - PICK(0ul, 8ul, 64ul);
  AT(u64, 0x1378) = PICK(0ul, 0ul, 8ul, ~0ul);
  AT(u64, 0x1380) = root;
  AT(u64, 0x1390) = root;
  AT(u64, 0x1398) = PICK(0ul, 4ul);
  AT(u64, 0x13b8) = PICK(0ul, 0x1000ul, 0xffff800000000000ul);
  AT(u64, 0x13e8) = PICK(0ul, 0xffff0ff0ul, 0x4000ul, 1ul << 32);
  AT(u64, 0x13f0) = PICK(0ul, 0x400ul, 0x2000ul);
  for (u32 i = 0; i < 3; i++) AT(u64, 0x13f8 + 8 * i) = (u64)callbacks + 16 * i;
  AT(u64, 0x1410) = PICK(0ul, 4ul, 64ul);
  AT(u64, 0x1418) = PICK(0ul, 0x1000ul);
  AT(u64, 0x1420) = (u64)gs_area;
  AT(u64, 0x1428) = (u64)(gs_area + 1);
  if (AT(u64, 0x200) & 4) AT(u64, 0x1380) = PICK(0ul, root);
  else AT(u64, 0x1428) = (u64)gs_area, AT(u64, 0x1420) = (u64)(gs_area + 1);
}

/* What it takes at first is an exception, the failsafe callback, ... */
static void odd_context(void) {
  switch (below(7)) {
    case 0: AT(u64, 0x290) = PICK(0x13ul, 0xe00bul, 0x2bul, 0xe02bul, 0xf0ful); break;
    case 1: AT(u64, 0x2a8) = PICK(0x1bul, 0x13ul, 0xe033ul, 0x1fful); break;
    case 2: AT(u64, 0x288) = PICK(0x1000ul, 0xffff800000000000ul); break;
    case 3: AT(u64, 0x2b0 + 8 * below(4)) = PICK(0x13ul, 0x17ul, 0xe008ul, 0xe043ul, 0x1fful); break;
    case 4: AT(u64, 0x2b0 + 8 * below(4)) = PICK(0x13ul, 0x0ful), AT(u64, 0x2b0 + 8 * below(4)) = 0xe02b; break;
    case 5: AT(struct trap_info, 0x2d0 + 16 * 6).cs = PICK(0x10, 0xe02b, 0xe008, 0x0f); break;
    default: AT(u64, 0x12d0) = (u64)pool[0], AT(u64, 0x12d8) = PICK(1ul, 512ul, 8192ul);
  }
}

/* ... what no vCPU can begin with. */
static void bad_context(void) {
  static const u16 addresses[] = {0x288, 0x2a0, 0x1370, 0x1418, 0x1420, 0x1428, 0x13f8, 0x1400, 0x1408};
  u32 kind = below(8);
  NOTE("bad", kind);
  switch (kind) {
    case 0: AT(u64, addresses[below(9)]) = 1ul << 47; break;
    case 1: AT(struct trap_info, 0x2d0 + 16 * below(256)).address = 1ul << 47; break;
    case 2: AT(u64, 0x12d0) = PICK(0x1001ul, 1ul << 47, 0xffff800000000000ul, ~0ul << 12), AT(u64, 0x12d8) = below(2); break;
    case 3: AT(u64, 0x12d8) = 8193; break;
    case 4: AT(u64, 0x1360) = 8193; break;
    case 5: AT(u64, 0x12e0) = PICK(1ul << 40, start_info->shared_info / PAGE), AT(u64, 0x1360) = PICK(1ul, 512ul); break;
    case 6: AT(u64, 0x1390) = PICK(1ul << 52, 0ul, start_info->shared_info, mfn_of((void *)(start_info->pt_base + PAGE)) * PAGE); break;
    default: AT(u64, 0x1380) = PICK(1ul << 50, 1ul, start_info->shared_info, mfn_of((void *)(start_info->pt_base + PAGE)) * PAGE);
  }
}

/* It begins, and what it took first ends that. */
static void arrives(u32 vcpu, int events) {
  u64 *stack = (u64 *)stacks[vcpu];
  /* What `back` pops, and returns to. */
  stack[6] = (u64)secondary;
  resume = stack;
  trap = (struct trap){0};
  for (u32 i = 0; i < 24; i++) entered[i] = 0;
  begin_stack = (u64)(stack + 64);
  quiet();
  if (events & 1) raise_port(other_port[vcpu]);
  if (events & 2) infos[vcpu]->mask = 0;
  if (events & 4) vcpu_op(11, vcpu, 0);
  expect_work(vcpu);
  playing = vcpu;
  NOTE("up", vcpu, vcpu_op(3, vcpu, 0), vcpu_op(1, vcpu, 0), vcpu_op(3, vcpu, 0), vcpu_op(1, vcpu, 0));
  settle(vcpu);
  playing = 0;
  u64 top = (u64)stack + sizeof stacks[vcpu];
  NOTE("begins", trap.vector, trap.error, trap.rip - (u64)stubs < 4 * PAGE ? trap.rip - (u64)stubs : trap.rip, trap.cs,
       trap.rflags & 0xfe7fff, top - trap.rsp < PAGE ? top - trap.rsp : 0, trap.ss, trap.mask, top - trap.at);
  if (trap.vector == 14) NOTE("cr2", trap.cr2);
  if (trap.vector == 0x101) NOTE("selectors", trap.selectors[0], trap.selectors[1], trap.selectors[2], trap.selectors[3]);
  s64 values[24];
  for (u32 i = 0; i < 24; i++) values[i] = entered[i];
  if (values[4]) values[4] = top - values[4];
  note("entered", 24, values);
  /* Its timer ticks by itself, at once, unless it was told not to. */
  NOTE("ticks", is_pending(timer_port[vcpu]), vcpu_op(7, vcpu, 0));
  quiet();
}

void initialise(void) {
  u32 vcpu = 1 + below(vcpus - 1);
  good_context(vcpu);
  u32 kind = below(24);
  if (kind == 0) odd_context();
  if (kind > 1) bad_context();
  void *at = below(10) ? context : any_area();
  NOTE("context", AT(u64, 0x200), AT(u64, 0x290), AT(u64, 0x298), AT(u64, 0x2a8), AT(u64, 0x2b0), AT(u64, 0x2b8), AT(u64, 0x2c0),
       AT(u64, 0x2c8), AT(u64, 0x1378), AT(u64, 0x1398));
  s64 answer = vcpu_op(0, vcpu, at);
  NOTE("initialise", vcpu, answer, vcpu_op(3, vcpu, 0));
  if (answer || is_started(vcpu)) return;
  if (vcpu_op(3, vcpu, 0) == 1) {
    /* It is on its way already, and has taken what it could. */
    for (u32 i = 0; i < 4; i++) yield();
    NOTE("down", entered[0], state_of(vcpu), vcpu_op(1, vcpu, 0), vcpu_op(2, vcpu, 0));
  }
  initialised |= 1u << vcpu;
  arrives(vcpu, below(8));
  started |= 1u << vcpu;
}
