/* Grants that the domain gives to itself: mapped, copied, transferred, swapped, in both versions of the table. */
#include "xen.h"

/* The refs that are used: others, once one of them cannot be let go of. */
static u32 first_ref = 8;
#define REFS 8u
/* On another page. */
#define FAR_REF 600u
#define NOBODY 5
#define GRANT_PAGES 3

u8 grant_pages[GRANT_PAGES][PAGE] __attribute__((aligned(4096)));
u8 status_page[PAGE] __attribute__((aligned(4096)));
static u32 version = 1;
static u64 status_page_entry;

enum { MAP, UNMAP, SETUP_TABLE, TRANSFER = 4, COPY, QUERY_SIZE, UNMAP_AND_REPLACE, SET_VERSION, GET_STATUS_FRAMES,
       GET_VERSION, SWAP, CACHE_FLUSH };
enum { DEVICE = 1, HOST = 2, READONLY = 4, APPLICATION = 8, CONTAINS_PTE = 16 };

struct map_op { u64 host_addr; u32 flags, ref; u16 dom; short status; u32 handle; u64 dev_bus_addr; };
struct unmap_op { u64 host_addr, dev_bus_addr; u32 handle; short status; };
struct replace_op { u64 host_addr, new_addr; u32 handle; short status; };
struct setup_op { u16 dom; u32 nr_frames; short status; u64 *frame_list; };
struct copy_op {
  struct { u64 frame; u16 domid, offset; } source, dest;
  u16 len, flags;
  short status;
};

/* Mappings that are there: what was asked for, and what of it is left. */
#define MOST 24
static struct map_op live[MOST];
static u32 living;

static s64 op(u32 cmd, void *list, u32 count) { return H3(GRANT_TABLE_OP, cmd, list, count); }
static u32 any_ref(void) { return below(20) ? first_ref + below(REFS) : PICK(FAR_REF, 5000u, 0xffffffffu); }
static u16 any_domid(void) { return below(12) ? own_domid : PICK(NOBODY, 0x7ff4); }
static u16 self(void) { return below(12) ? PICK(DOMID_SELF, (int)own_domid) : PICK(NOBODY, 0x7ff4); }

static u16 *header(u32 ref) { return (u16 *)(grant_pages[0] + ref * (version == 1 ? 8 : 16)); }
static u64 frame_of(u32 ref) { return version == 1 ? *(u32 *)(header(ref) + 2) : *(u64 *)(header(ref) + 4); }

static void note_entry(u32 ref) {
  if (ref - first_ref >= REFS) return;
  u64 frame = frame_of(ref);
  u16 status = version == 2 && status_page_entry ? ((u16 *)status_page)[ref] : 0;
  NOTE("grant", ref, header(ref)[0], normal(frame * PAGE), status);
}

/* The table's pages, where the guest can see them. */
static void show(u32 count) {
  u64 list[GRANT_PAGES];
  struct setup_op a = {DOMID_SELF, count, 0, list};
  op(SETUP_TABLE, &a, 1);
  for (u32 i = 0; i < count; i++)
    if (map(grant_pages[i], list[i] * PAGE | 3)) print("grant table cannot be mapped\n");
}

static void show_status(int on) {
  u64 list[1];
  struct { u32 nr_frames; u16 dom; short status; u64 *list; } a = {1, DOMID_SELF, 0, list};
  s64 answer = op(GET_STATUS_FRAMES, &a, 1);
  status_page_entry = on && answer == 0 && a.status == 0 ? list[0] * PAGE | 1 : 0;
  NOTE("status frame", answer, a.status, map(status_page, status_page_entry));
}

/* All pages at once: which frames Xen takes for more is its own business. */
void grant_init(void) { show(GRANT_PAGES); }

static void switch_version(u32 wanted) {
  u32 asked = wanted;
  s64 answer = op(SET_VERSION, &asked, 1);
  NOTE("set_version", wanted, answer, asked);
  if (asked == version) return;
  version = asked;
  for (u32 ref = 2; ref < 12; ref++) NOTE("reset", ref, header(ref)[0] != 0);
}

void grant_begin(void) { switch_version(1 + below(2)); }

int is_granted(u64 frame) {
  for (u32 i = 0; i < living; i++)
    if (live[i].dev_bus_addr == frame * PAGE) return 1;
  return 0;
}

static void entry_step(void) {
  u32 ref = first_ref + below(REFS);
  u16 flags = PICK(1, 1, 1, 1, 1, 5, 0, 2, 3, 0x101, 9, 0x81);
  u16 domid = below(8) ? own_domid : NOBODY;
  u64 frame = below(16) ? frames[below(FRAMES)] : 0x7fffffff;
  if (flags == 2) frame = pfn_of(pool[below(FRAMES)]);
  volatile u16 *at = header(ref);
  at[0] = 0;
  at[1] = domid;
  if (version == 1) *(volatile u32 *)(at + 2) = frame;
  else {
    *(volatile u32 *)(at + 2) = 0;
    *(volatile u64 *)(at + 4) = frame;
    if (flags == 0x101) at[2] = PICK(0, 64, 4032, 0x8040), at[3] = PICK(64, 8, 4096);
    if (flags == 3) at[2] = PICK((int)own_domid, NOBODY), *(volatile u64 *)(at + 4) = first_ref + below(REFS);
  }
  at[0] = flags;
  NOTE("entry", ref, flags, domid == own_domid, normal(frame * PAGE), frame == 0x7fffffff);
}

static u32 page_flags(u32 flags) { return flags & READONLY ? 1 : 3; }

static void map_step(void) {
  if (living == MOST) return;
  u32 page = below(SCRATCH);
  struct map_op a = {(u64)scratch[page], PICK(HOST, HOST, HOST, HOST | READONLY, HOST | DEVICE, DEVICE, DEVICE | READONLY,
                                              HOST | APPLICATION, HOST | CONTAINS_PTE, 0u, HOST | 5u << 16), any_ref(),
                     any_domid(), 77, 0xabcd, 0};
  u64 entry = (u64)table_entry(scratch[page]);
  if (a.flags & CONTAINS_PTE) {
    a.host_addr = mfn_of((void *)(entry & ~(PAGE - 1))) * PAGE | (entry & (PAGE - 1));
    if (below(8) == 0) a.host_addr = PICK(a.host_addr | 4, frames[0] * PAGE + 8, 0x7fffffff000ul);
  } else if (below(10) == 0) a.host_addr = PICK(0x1000ul, 0xffff800000001000ul, 0x800000000000ul);
  s64 answer = op(MAP, &a, 1);
  NOTE("map grant", page, a.flags, a.ref, a.dom == own_domid, answer, a.status, a.handle, normal(a.dev_bus_addr));
  NOTE("pte", normal(*(u64 *)entry));
  note_entry(a.ref);
  if (answer || a.status) return;
  live[living] = a;
  /* Where it can be seen, and so be made again as it was. */
  if (a.flags & HOST) live[living].host_addr = (u64)scratch[page];
  living++;
}

/* The address by which it was mapped. */
static u64 address(const struct map_op *m) {
  u64 entry = (u64)table_entry((void *)m->host_addr);
  return m->flags & CONTAINS_PTE ? mfn_of((void *)(entry & ~(PAGE - 1))) * PAGE | (entry & (PAGE - 1)) : m->host_addr;
}

static void unmapped(u32 i, u32 what) {
  live[i].flags &= ~what;
  if (live[i].flags & (HOST | DEVICE)) return;
  live[i] = live[--living];
}

static void unmap_step(void) {
  u32 i = living ? below(living) : 0;
  struct unmap_op a = {0, 0, living && below(12) ? live[i].handle : PICK(300u, 0xfffffu), 77};
  int known = living && a.handle == live[i].handle;
  if (known && live[i].flags & HOST && below(8)) a.host_addr = below(10) ? address(&live[i]) : (u64)scratch[below(SCRATCH)];
  if (known && live[i].flags & DEVICE && below(6)) a.dev_bus_addr = below(6) ? live[i].dev_bus_addr : frames[below(FRAMES)] * PAGE;
  if (below(30) == 0) a.host_addr = 0x800000000000ul;
  u32 ref = known ? live[i].ref : 0;
  s64 answer = op(UNMAP, &a, 1);
  NOTE("unmap grant", known ? a.handle : 0, !!a.host_addr, !!a.dev_bus_addr, answer, a.status);
  note_entry(ref);
  if (answer || a.status || !known) return;
  unmapped(i, (a.host_addr ? HOST : 0) | (a.dev_bus_addr ? DEVICE : 0));
}

static void replace_step(void) {
  if (!living) return;
  u32 i = below(living), page = below(SCRATCH);
  struct replace_op a = {live[i].flags & HOST ? address(&live[i]) : 0, (u64)scratch[page], live[i].handle, 77};
  if (below(8) == 0) a.new_addr = PICK(0ul, 0x1000ul, 0x800000000000ul);
  u64 was = live[i].flags & HOST ? (u64)table_entry((void *)live[i].host_addr) : 0;
  s64 answer = op(UNMAP_AND_REPLACE, &a, 1);
  NOTE("replace grant", a.handle, page, answer, a.status, normal(*table_entry(scratch[page])), was ? normal(*(u64 *)was) : 0);
  if (!answer && !a.status && a.host_addr) unmapped(i, HOST);
}

/* Copies to an entry that means another frame than when it was mapped: Xen before 4.17.7 writes to the old one. */
static int is_moved(u32 ref) {
  for (u32 i = 0; i < living; i++)
    if (live[i].ref == ref && live[i].dev_bus_addr != frame_of(ref) * PAGE) return 1;
  return 0;
}

static void copy_step(void) {
  static struct copy_op list[2];
  /* Few: Xen may interrupt a list, and looks at whose the next one's frames are again then. */
  u32 count = below(4) ? 1 : 2;
  u64 ends[4];
  for (u32 i = 0; i < count; i++) {
    u16 flags = below(4);
    ends[2 * i] = flags & 1 ? any_ref() : below(FRAMES);
    ends[2 * i + 1] = flags & 2 ? any_ref() : below(FRAMES);
    if (flags & 2 && is_moved(ends[2 * i + 1])) ends[2 * i + 1] = FAR_REF;
    list[i].source.frame = flags & 1 ? ends[2 * i] : frames[ends[2 * i]];
    list[i].dest.frame = flags & 2 ? ends[2 * i + 1] : frames[ends[2 * i + 1]];
    list[i].source.domid = flags & 1 ? self() : below(12) ? DOMID_SELF : own_domid;
    list[i].dest.domid = flags & 2 ? self() : DOMID_SELF;
    list[i].source.offset = PICK(0, 0, 64, 4032, 4095);
    list[i].dest.offset = PICK(0, 0, 64, 4032);
    list[i].len = PICK(8, 64, 8, 0, 4096, 72);
    list[i].flags = flags;
    list[i].status = 77;
    if (below(20) == 0) list[i].source.frame = 1ul << 40;
  }
  s64 answer = op(COPY, list, count);
  for (u32 i = 0; i < count; i++) {
    NOTE("copy", list[i].flags, ends[2 * i], ends[2 * i + 1], answer, list[i].status);
    if (!(list[i].flags & 2))
      NOTE("copied", normal(*(u64 *)pool[ends[2 * i + 1]]), normal(*(u64 *)(pool[ends[2 * i + 1]] + 64)));
    note_entry(list[i].flags & 1 ? ends[2 * i] : 0);
    note_entry(list[i].flags & 2 ? ends[2 * i + 1] : 0);
  }
}

static void transfer_step(void) {
  int frame = below(FRAMES);
  u64 old = frames[frame];
  struct { u64 mfn; u16 domid; u32 ref; short status; } a = {old, any_domid(), any_ref(), 77};
  int ready = below(3) && frame_is_free(frame);
  if (below(20) == 0) a.mfn = PICK(1ul << 40, start_info->shared_info / PAGE);
  s64 answer = op(TRANSFER, &a, 1);
  NOTE("transfer", frame + 1, a.domid == own_domid, a.ref, answer, a.status);
  note_entry(a.ref);
  if (!ready) return;
  if (a.status == 0) NOTE("m2p", M2P[old] < start_info->nr_pages);
  /* It is gone, unless it was not even taken, or came back. */
  if (a.mfn == old && a.status != 0 && a.status != -9) lost_frame(frame, "lost");
  else NOTE("mapped", map(pool[frame], old * PAGE | 1));
}

static void table_step(void) {
  switch (below(6)) {
    case 0: {
      /* Status frames would be frames that were given away, which entries may still name. */
      u32 wanted = PICK(1u, 2u, 3u);
      if (wanted == 3 || wanted == version || !frames_were_given()) switch_version(wanted);
      return;
    }
    case 1: {
      struct { u16 dom, pad; u32 version; } a = {self(), 0, 77};
      s64 answer = op(GET_VERSION, &a, 1);
      NOTE("get_version", answer, a.version);
      return;
    }
    case 2: {
      struct { u16 dom; u32 nr, max; short status; } a = {self(), 77, 77, 77};
      u32 count = PICK(1u, 1u, 1u, 0u, 2u, 0xffffffffu);
      s64 answer = op(QUERY_SIZE, &a, count);
      NOTE("query_size", count, answer, a.status, a.nr, a.max);
      return;
    }
    case 3: {
      u64 list[4] = {0};
      struct setup_op a = {self(), PICK(0u, 1u, 2u, 3u, 65u), 77, list};
      if (below(12) == 0) a.frame_list = (u64 *)PICK(0x1000ul, 0xffff800000000000ul);
      s64 answer = op(SETUP_TABLE, &a, below(12) ? 1 : 2);
      NOTE("setup_table", a.nr_frames, answer, a.status, !!list[0], !!list[1], !!list[2]);
      return;
    }
    case 4: {
      u64 list[2] = {0};
      struct { u32 nr_frames; u16 dom; short status; u64 *list; } a = {PICK(0u, 1u, 1u, 2u), self(), 77, list};
      s64 answer = op(GET_STATUS_FRAMES, &a, 1);
      NOTE("get_status_frames", a.nr_frames, answer, a.status, !!list[0], !!list[1]);
      return;
    }
    default:
      show_status(below(2));
  }
}

static void swap_step(void) {
  struct { u32 a, b; short status; } a = {any_ref(), any_ref(), 77};
  s64 answer = op(SWAP, &a, 1);
  NOTE("swap", a.a, a.b, answer, a.status);
  note_entry(a.a);
  note_entry(a.b);
}

static void flush_step(void) {
  struct { u64 address; u16 offset, length; u32 op; } a = {
    below(6) ? frames[below(FRAMES)] * PAGE : PICK(0ul, 1ul << 51, start_info->shared_info), PICK(0, 64, 4096),
    PICK(0, 64, 4096, 4097), PICK(0u, 1u, 2u, 3u, 4u, 1u << 31)};
  NOTE("cache_flush", a.offset, a.length, a.op, op(CACHE_FLUSH, &a, 1));
}

void grant_step(void) {
  switch (below(16)) {
    case 0: case 1: case 2: return entry_step();
    case 3: case 4: case 5: return map_step();
    case 6: case 7: return unmap_step();
    case 8: return replace_step();
    case 9: case 10: case 11: return copy_step();
    case 12: return table_step();
    case 13: return below(2) ? transfer_step() : table_step();
    case 14: return swap_step();
    default: {
      static const u32 commands[] = {3, 13, 0xfff, 0x1000, 0x1005};
      if (below(2)) NOTE("no command", op(commands[below(5)], live, 1), op(MAP, (void *)PICK(0x1000ul, 0xffff800000000000ul), 1),
                         op(COPY, (void *)0xffff800000000000ul, 0));
      else flush_step();
    }
  }
}

static void clear(u32 ref) {
  volatile u64 *entry = (u64 *)header(ref);
  entry[0] = 0;
  if (version == 2) entry[1] = 0;
}

/* Everything is unmapped, as far as the frames let themselves be mapped again as they were. */
void grant_end(void) {
  int stuck = 0;
  for (u32 i = living; i-- > 0;) {
    struct map_op m = live[i];
    struct unmap_op a = {0, m.flags & DEVICE ? m.dev_bus_addr : 0, m.handle, 0};
    if (m.flags & HOST) {
      a.host_addr = address(&m);
      map((void *)m.host_addr, m.dev_bus_addr | page_flags(m.flags));
    }
    op(UNMAP, &a, 1);
    NOTE("end of grant", m.handle, a.status);
    stuck |= a.status != 0;
  }
  map(status_page, status_page_entry = 0);
  u32 first = 1;
  NOTE("end of grants", living, op(SET_VERSION, &first, 1));
  version = first;
  for (u32 ref = first_ref; ref < first_ref + REFS; ref++) clear(ref);
  clear(FAR_REF);
  if (stuck) first_ref += REFS;
  living = 0;
}
