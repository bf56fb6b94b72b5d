/* Hypercalls of toolstacks, device models and HVM guests, as far as dom0 is told the same about itself as others. */
#include "xen.h"

#define HVM_OP 34
#define DM_OP 41
static void *place(void *good) { return below(4) ? good : (void *)PICK(0x1000ul, 0xffff800000000000ul); }
/* By its own number the domain is no other one; dom0's is another's for a domU. */
static u16 any_domid(void) { return PICK(DOMID_SELF, (int)own_domid, 0x7ff4, 77); }
static u32 kind_of(u16 domid) { return domid == DOMID_SELF ? 1 : domid == own_domid ? 2 : 3; }

static void hvm_step(void) {
  static u64 buffer[32];
  u64 cmd = PICK(0ul, 1ul, 5ul, 9ul, 10ul, 11ul, 15ul, 23ul, 24ul, 25ul, 2ul, 26ul, 99ul), high = below(8) == 0 ? 1ul << 32 : 0;
  u16 domid = any_domid();
  for (int i = 0; i < 32; i++) buffer[i] = 0;
  if (cmd == 11) buffer[0] = PICK(0x5ul, 0xffful, 0x1000ul) | PICK(0ul, 28ul, 29ul) << 16;
  else if (cmd == 23) buffer[0] = PICK(0ul, 77ul) | PICK(0x10ul, 0x80ul) << 32;
  else buffer[0] = domid | PICK(1ul, 17ul, 39ul) << 32;
  void *at = below(6) == 0 ? 0 : place(buffer);
  /* Linear address 0 is read as the others are. */
  if (cmd != 5 && cmd != 24 && !at) at = buffer;
  NOTE("hvm_op", cmd, high != 0, kind_of(domid), at == buffer, buffer[0] >> 16, H2(HVM_OP, cmd | high, at));
}

static void device_model_step(void) {
  static u64 buffers[4];
  u16 domid = any_domid();
  u32 count = below(4);
  NOTE("dm_op", kind_of(domid), count, H3(DM_OP, domid, count, place(buffers)));
}

static void paging_step(void) {
  static u32 op[64];
  op[0] = PICK(10u, 10u, 2u), op[1] = PICK(0x15u, 0x15u, 7u), op[2] = 77;
  NOTE("paging_domctl_cont", op[0], op[1], H1(49, place(op)));
}

void refused_step(void) {
  static u64 buffer[32];
  switch (below(4)) {
    case 0: {
      u64 number = PICK(11ul, 27ul, 38ul, 39ul, 40ul, 43ul, 47ul, 50ul, 55ul, 63ul, 64ul, 1000ul);
      NOTE("none", number, H2(number, below(20), buffer));
      return;
    }
    case 1: return device_model_step();
    case 2: return paging_step();
    default: hvm_step();
  }
}
