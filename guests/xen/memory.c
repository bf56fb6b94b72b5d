/* memory_op: what is asked about memory and by toolstacks, with bits above the command; what dom0 and others are told alike. */
#include "xen.h"

static s64 op(u64 cmd, void *arg) { return H2(MEMORY_OP, cmd, arg); }
static void *place(void *good) { return below(5) ? good : (void *)PICK(0x1000ul, 0xffff800000000000ul, 0x800000000000ul); }
/* Domain 0 is another one for a domU. */
static u16 any_domid(void) { return PICK(DOMID_SELF, DOMID_SELF, (int)own_domid, (int)own_domid, 0x7ff4, 77); }
static u32 kind_of(u16 domid) { return domid == DOMID_SELF ? 1 : domid == own_domid ? 2 : 3; }

static void tables_step(u64 bits) {
  static u64 list[600];
  u32 compat = below(3) == 0;
  struct { u32 max, pad; void *list; u32 nr, pad2; } a = {PICK(0u, 1u, 1u, 600u), 0, place(list), 77, 0};
  list[0] = 0;
  s64 answer = op((compat ? 25 : 5) | bits, place(&a));
  NOTE("mfn_list", compat, a.max, bits, answer, a.nr, list[0] != 0);
}

static void mapping_step(u64 bits) {
  struct { u64 start, end, max; } a = {1, 2, 3};
  s64 answer = op(12 | bits, place(&a));
  NOTE("mapping", bits, answer, a.start, a.end);
}

static void about_step(u64 bits) {
  u16 domid = any_domid();
  u32 cmd = PICK(2u, 3u, 4u, 14u);
  s64 answer = op(cmd | bits, place(&domid));
  NOTE("about", cmd, bits, kind_of(domid), answer < 0 ? answer : 1);
}

/* A map that is read once it has been set: dom0 begins without one. */
static void map_step(u64 bits) {
  static u8 map[20 * 1100];
  struct { u16 domid; u32 pad, count, pad2; void *map; } set = {any_domid(), 0, PICK(0u, 1u, 3u, 1024u, 1025u), 0, place(map)};
  NOTE("set_memory_map", kind_of(set.domid), set.count, bits, op(13 | bits, place(&set)));
  set.domid = DOMID_SELF, set.count = PICK(0u, 2u), set.map = map;
  NOTE("a map", op(13, &set));
  struct { u32 count, pad; void *map; } get = {PICK(0u, 1u, 4u), 0, place(map)};
  s64 answer = op(9 | bits, place(&get));
  NOTE("memory_map", bits, answer, get.count);
}

static void physmap_step(u64 bits) {
  static u64 lists[3][4];
  struct { u16 domid, size; u32 space; u64 index, frame; } one = {any_domid(), 0, below(7), 0, 5};
  NOTE("add_to_physmap", kind_of(one.domid), one.space, bits, op(7 | bits, place(&one)));
  NOTE("remove_from_physmap", op(15 | bits, place(&one)));
  struct { u16 domid, space, size, foreign; void *lists[3]; } many = {
    one.domid, one.space, below(4), 0, {place(lists[0]), place(lists[1]), place(lists[2])}};
  NOTE("batch", many.size, op(23 | bits, place(&many)));
}

static void reservation_step(u64 bits) {
  struct { void *list; u64 count; u32 order, flags; u16 domid; } a = {place(0), PICK(0ul, 1ul, 1ul << 26, 1ul << 40), below(2), below(2), 77};
  u32 cmd = PICK(0u, 1u, 6u);
  NOTE("reservation", cmd, a.count, bits, op(cmd | bits, place(&a)));
  NOTE("claim", a.list != 0, a.order, a.flags, bits, op(24 | bits, place(&a)));
}

static void tools_step(u64 bits) {
  u16 domid = any_domid();
  struct { u64 values[4]; u16 domid; } pod = {{1, 2, 3, 4}, domid};
  struct { u8 op, access; u16 domid; u32 count; u64 frame; void *lists[2]; } access = {below(6), 0, domid, 1, 5, {0, 0}};
  struct { u16 domid, pad; u32 counts[3]; void *lists[3]; } nodes = {domid, below(5) == 0, {1, 1, 1}, {0, 0, 0}};
  struct { u32 flags, count; void *list; u32 device; } reserved = {PICK(0u, 1u, 1u, 2u, 3u), 7, place(&pod), 0};
  struct { u16 domid, type; u32 id, count, pad; u64 frame; void *list; } resource = {
    domid, below(4), 0, below(3), below(5) == 0, PICK(0ul, 0ul, 0xfffffffful, 1ul << 32), PICK((void *)0, &pod)};
  s64 answer;
  switch (below(5)) {
    case 0: NOTE("pod", kind_of(domid), bits, op(16 | bits, place(&pod)), op(17 | bits, place(&pod)), pod.values[1]); return;
    case 1: NOTE("access_op", kind_of(domid), bits, access.op, op(21 | bits, place(&access))); return;
    case 2: NOTE("vnuma", kind_of(domid), bits, nodes.pad, op(26 | bits, place(&nodes)), nodes.counts[0]); return;
    case 3:
      answer = op(27 | bits, place(&reserved));
      NOTE("reserved", bits, reserved.flags, answer, reserved.count);
      return;
    default: NOTE("resource", kind_of(domid), bits, resource.pad, resource.count, resource.frame, op(28 | bits, place(&resource)), resource.count);
  }
}

static void other_step(u64 bits) {
  static u64 buffer[32];
  u32 cmd = PICK(8u, 18u, 19u, 20u, 22u, 29u, 40u, 63u);
  NOTE("other", cmd, bits, op(cmd | bits, place(buffer)));
}

void memory_step(void) {
  u64 bits = below(3) ? 0 : PICK(1ul, 2ul, 0x10000ul, 1ul << 26, 1ul << 40) << 6;
  switch (below(9)) {
    case 0: return tables_step(bits);
    case 1: return mapping_step(bits);
    case 2: return about_step(bits);
    case 3: return map_step(bits);
    case 4: return physmap_step(bits);
    case 5: return reservation_step(bits);
    case 6: return other_step(bits);
    default: return tools_step(bits);
  }
}
