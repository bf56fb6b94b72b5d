/* Page tables: frames that become tables of all levels, are pinned, mapped, written to, given away and taken back. */
#include "xen.h"

#define P 1ul
#define RW 2ul
#define US 4ul
#define GUEST_KERNEL (1ul << 52)
#define NX (1ul << 63)
#define ADDRESS 0x000ffffffffff000ul
#define OTHER 0xfffff000ul

u8 pool[FRAMES][PAGE] __attribute__((aligned(4096)));
u8 scratch[SCRATCH][PAGE] __attribute__((aligned(4096)));
u8 shared_page[PAGE] __attribute__((aligned(4096)));
u64 frames[FRAMES];
static u64 scratch_frames[SCRATCH];
/* Slots that are used of each table: first and last ones, Xen's, and their neighbours. */
static const u16 slots[] = {0, 1, 2, 3, 255, 256, 258, 271, 272, 511};
#define SLOTS (sizeof slots / sizeof *slots)

struct update { u64 ptr, val; };
struct ext { u32 cmd, pad; u64 arg1, arg2; };
struct reservation { void *extents; u64 count; u32 order, flags; u16 domid; };

u64 pfn_of(const void *address) { return ((u64)address - VIRT_BASE) / PAGE; }
u64 mfn_of(const void *address) { return ((u64 *)start_info->mfn_list)[pfn_of(address)]; }

u64 normal(u64 entry) {
  u64 frame = (entry & ADDRESS) / PAGE, number = OTHER;
  if (frame == 0) number = 0;
  if (frame == start_info->shared_info / PAGE) number = 0x100 * PAGE;
  for (int i = 0; i < FRAMES; i++)
    if (frames[i] == frame) number = (i + 1) * PAGE;
  for (int i = 0; i < SCRATCH; i++)
    if (scratch_frames[i] == frame) number = (i + 0x80) * PAGE;
  return (entry & ~ADDRESS) | number;
}

s64 map(void *address, u64 entry) { return H3(UPDATE_VA_MAPPING, address, entry, 2); }
static u64 *entry_at(int frame, int slot) { return (u64 *)pool[frame] + slot; }

static s64 ext(u32 cmd, u64 arg1, u64 arg2) {
  struct ext op = {cmd, 0, arg1, arg2};
  return H4(MMUEXT_OP, &op, 1, 0, DOMID_SELF);
}

void set_user_root(u64 root) { ext(15, root, 0); }

/* The entry of the guest's own tables for an address, to be read. */
u64 *table_entry(const void *address) {
  u64 *table = (u64 *)start_info->pt_base;
  for (int shift = 39;; shift -= 9) {
    u64 *entry = table + ((u64)address >> shift & 511);
    if (shift == 12) return entry;
    table = (u64 *)(VIRT_BASE + M2P[(*entry & ADDRESS) / PAGE] * PAGE);
  }
}

static s64 update(u64 ptr, u64 val) {
  struct update op = {ptr, val};
  return H4(MMU_UPDATE, &op, 1, 0, DOMID_SELF);
}

void mmu_init(void) {
  /* Write emulation; pool and scratch are mapped read-only from here on. */
  H2(VM_ASSIST, 0, 2);
  map(shared_page, start_info->shared_info | P | RW);
  for (int i = 0; i < FRAMES; i++) frames[i] = mfn_of(pool[i]);
  for (int i = 0; i < SCRATCH; i++) scratch_frames[i] = mfn_of(scratch[i]);
}

u64 random_entry(void) {
  u64 flags = PICK(0ul, P, P, P | RW, P | RW, P | RW | US, P | US, P | 0x60);
  u64 more = below(20) == 0 ? PICK(0x100ul, 0x200ul, GUEST_KERNEL, NX, 1ul << 61, 1ul << 62) : 0;
  u64 frame = below(40) == 0 ? start_info->shared_info / PAGE : frames[below(FRAMES)];
  return frame * PAGE | flags | more;
}

static void note_frame(int frame) {
  s64 values[SLOTS];
  for (u32 i = 0; i < SLOTS; i++) values[i] = normal(*entry_at(frame, slots[i]));
  note("frame", SLOTS, values);
}

static void store8(u64 address, u64 value) { *(volatile u64 *)address = value; }
static void store4(u64 address, u64 value) { *(volatile u32 *)address = value; }
static void store1(u64 address, u64 value) { *(volatile u8 *)address = value; }
static void set_bit(u64 address, u64 bit) { asm volatile("lock btsq %1, (%0)" : : "r"(address), "r"(bit) : "memory"); }
static void clear_bit(u64 address, u64 bit) { asm volatile("btrq %1, (%0)" : : "r"(address), "r"(bit) : "memory"); }
static void exchange(u64 address, u64 value) { asm volatile("xchg %1, (%0)" : : "r"(address), "r"(value) : "memory"); }
static void compare(u64 address, u64 value) {
  u64 old = *(u64 *)address;
  asm volatile("lock cmpxchg %1, (%0)" : : "r"(address), "r"(value), "a"(old) : "memory");
}
static void or4(u64 address, u64 value) { asm volatile("orl %1, (%0)" : : "r"(address), "r"((u32)value) : "memory"); }

/* A store of the kernel's to a page that it can only read: emulated if it is an L1 table, otherwise a fault. */
static void write_step(int frame, int slot) {
  u64 address = (u64)entry_at(frame, slot), value = random_entry();
  void (*function)(u64, u64);
  int kind = below(9);
  switch (kind) {
    case 0: function = store4; break;
    case 1: function = store1; value = *(u8 *)address ^ 1 << below(2); break;
    case 2: function = set_bit; value = PICK(1ul, 9ul, 60ul); break;
    case 3: function = clear_bit; value = PICK(0ul, 1ul, 52ul); break;
    case 4: function = exchange; break;
    case 5: function = compare; break;
    case 6: function = or4; value = PICK(1ul, 2ul, 0x200ul); break;
    default: function = store8;
  }
  if (function == store4 && below(2)) address += 4, value >>= 32;
  /* What would make an empty entry present names frame 0, which dom0 may map and others may not. */
  if ((function == store1 || function == or4) && (*entry_at(frame, slot) & ADDRESS) == 0) {
    function = store8;
    value = random_entry();
  }
  NOTE("write", kind, slot, address & 7, normal(value), normal(*entry_at(frame, slot)));
  if (attempt(function, address, value)) {
    trap.cr2 -= (u64)pool;
    note_trap("fault", function);
  }
  NOTE("store", normal(*entry_at(frame, slot)));
}

/* Some of the requests; how many were done. */
static void batch_step(void) {
  static struct update batch[6];
  int count = 1 + below(6);
  u32 done = 99;
  for (int i = 0; i < count; i++) {
    u64 kind = below(30) == 0 ? below(8) : PICK(0ul, 0ul, 2ul, 3ul);
    batch[i] = (struct update){frames[below(FRAMES)] * PAGE + 8 * slots[below(SLOTS)] + kind, random_entry()};
    if (kind == 1) batch[i].val = below(1000);
  }
  s64 answer = H4(MMU_UPDATE, batch, count, &done, DOMID_SELF);
  NOTE("mmu_update", answer, done);
  for (int i = 0; i < count; i++) NOTE("entry", normal(batch[i].ptr), normal(*entry_at((normal(batch[i].ptr) & ADDRESS) / PAGE - 1, (batch[i].ptr & 4095) / 8)));
}

/*
 * Frames that were the test's in this seed. Which ones a host has next is its own business, so one that comes again is
 * put aside: entries that still name it would name one of the test's here, and none there.
 */
#define MOST 64
static u64 given[MOST];
static u32 gave;

static int was_given(u64 frame) {
  for (u32 i = 0; i < gave; i++)
    if (given[i] == frame) return 1;
  return 0;
}

static s64 reserve(u32 command, u64 *extent) {
  struct reservation r = {extent, 1, 0, 0, DOMID_SELF};
  return H2(MEMORY_OP, command, &r);
}

/* A frame for a page, none of those that were given: 1, or what populate_physmap answers. */
static s64 fresh(int frame, u64 *mfn) {
  u64 aside[MOST];
  u32 put_aside = 0;
  s64 answer;
  for (;;) {
    *mfn = pfn_of(pool[frame]);
    answer = reserve(6, mfn);
    if (answer != 1 || !was_given(*mfn)) break;
    aside[put_aside++] = *mfn;
  }
  while (put_aside) reserve(1, &aside[--put_aside]);
  return answer;
}

void mmu_begin(void) {
  for (int i = 0; i < FRAMES; i++) {
    map(pool[i], frames[i] * PAGE | P);
    /* Xen has lost references to it: a new one for it. */
    if (ext(16, frames[i], 0)) {
      NOTE("in use", i + 1);
      given[gave++] = frames[i];
      map(pool[i], 0);
      fresh(i, &frames[i]);
      map(pool[i], frames[i] * PAGE | P);
      ext(16, frames[i], 0);
    }
  }
  for (int i = 0; i < FRAMES; i++)
    for (int n = below(4); n > 0; n--) update(frames[i] * PAGE + 8 * slots[below(SLOTS)], random_entry());
  for (int i = 0; i < SCRATCH; i++) map(scratch[i], scratch_frames[i] * PAGE | P | RW);
}

static void take_over(int frame, u64 mfn, const char *what, s64 answer) {
  frames[frame] = mfn;
  NOTE(what, answer, map(pool[frame], mfn * PAGE | P));
  NOTE("m2p", M2P[mfn] - pfn_of(pool[frame]), ext(16, mfn, 0));
}

/*
 * Take a frame and give another back. What still uses that one keeps it alive, without being the test's any more;
 * nothing does for longer than this seed, because it is not pinned.
 */
static void reservation_step(int frame) {
  if (gave == MOST || is_granted(frames[frame])) return;
  u64 old = frames[frame], mfn;
  map(pool[frame], 0);
  NOTE("unpin", frame + 1, ext(4, old, 0));
  given[gave++] = old;
  s64 came = fresh(frame, &mfn);
  s64 gone = reserve(1, &old);
  NOTE("reservation", frame + 1, came, gone, reserve(1, &old));
  if (came == 1) take_over(frame, mfn, "populated", gone);
}

int frames_were_given(void) { return gave != 0; }

/* Nothing of the test's refers to a frame any more, if there is room to remember it. */
int frame_is_free(int frame) {
  if (gave == MOST || is_granted(frames[frame])) return 0;
  map(pool[frame], 0);
  ext(4, frames[frame], 0);
  return 1;
}

/* Another frame in the place of one that went. */
void lost_frame(int frame, const char *what) {
  u64 mfn;
  given[gave++] = frames[frame];
  s64 came = fresh(frame, &mfn);
  if (came == 1) take_over(frame, mfn, what, came);
}

static void exchange_step(int frame) {
  if (gave == MOST || is_granted(frames[frame])) return;
  u64 in[1] = {frames[frame]}, out[1] = {pfn_of(pool[frame])};
  struct { struct reservation in, out; u64 done; } x = {{in, 1, 0, 0, DOMID_SELF}, {out, 1, 0, 0, DOMID_SELF}, 0};
  int unmapped = below(2);
  if (unmapped) map(pool[frame], 0);
  s64 answer = H2(MEMORY_OP, 11, &x);
  NOTE("exchange", frame + 1, answer, x.done);
  if (x.done) {
    NOTE("m2p", M2P[out[0]] - pfn_of(pool[frame]));
    u64 other = out[0];
    given[gave++] = frames[frame];
    if (was_given(other) && fresh(frame, &other) == 1) reserve(1, out);
    take_over(frame, other, "exchanged", 0);
  } else if (unmapped) NOTE("mapped", map(pool[frame], frames[frame] * PAGE | P));
}

/* What a frame can be now: the answers to being mapped writable and pinned as each level. */
static void probe(int frame) {
  s64 values[10];
  void *at = scratch[0];
  values[0] = map(at, frames[frame] * PAGE | P | RW);
  map(at, scratch_frames[0] * PAGE | P | RW);
  for (int level = 0; level < 4; level++) {
    values[1 + level] = ext(level, frames[frame], 0);
    values[5 + level] = values[1 + level] == 0 ? ext(4, frames[frame], 0) : 0;
  }
  values[9] = frame + 1;
  note("type", 10, values);
}

void mmu_step(void) {
  int frame = below(FRAMES), slot = slots[below(SLOTS)];
  switch (below(16)) {
    case 0: case 1: case 2: case 3: case 4:
      return batch_step();
    case 5: case 6: {
      u32 level = below(4);
      NOTE("pin", frame + 1, level, ext(level, frames[frame], 0));
      return note_frame(frame);
    }
    case 7:
      NOTE("unpin", frame + 1, ext(4, frames[frame], 0));
      return note_frame(frame);
    case 8:
      NOTE("user root", frame + 1, ext(15, below(4) ? frames[frame] : 0, 0));
      return note_frame(frame);
    case 9: case 10:
      return write_step(frame, slot);
    case 11: {
      u64 entry = random_entry();
      u32 page = below(SCRATCH);
      NOTE("va", page, normal(entry), H3(UPDATE_VA_MAPPING, scratch[page], entry, PICK(0ul, 1ul, 2ul, 5ul, 6ul)));
      return;
    }
    case 12:
      if (below(3)) NOTE("clear", frame + 1, ext(16, frames[frame], 0));
      else NOTE("copy", frame + 1, ext(17, frames[frame], frames[below(FRAMES)]));
      return note_frame(frame);
    case 13:
      return below(2) ? reservation_step(frame) : exchange_step(frame);
    case 14:
      return probe(frame);
    default: {
      u32 cmd = PICK(5u, 6u, 7u, 10u, 11u, 14u, 19u, 21u, 99u);
      u64 root = ((u64)start_info->pt_base - VIRT_BASE) / PAGE;
      u64 arg = cmd == 5 ? (below(2) ? ((u64 *)start_info->mfn_list)[root] : frames[frame] + (1ul << 40)) : (u64)pool[frame];
      NOTE("ext", cmd, ext(cmd, arg, 0));
    }
  }
}

void mmu_end(void) {
  for (int i = 0; i < FRAMES; i++) note_frame(i);
  for (int i = 0; i < FRAMES; i++) probe(i);
  ext(15, 0, 0);
  for (int i = 0; i < SCRATCH; i++) map(scratch[i], scratch_frames[i] * PAGE | P | RW);
  for (int i = 0; i < FRAMES; i++) ext(4, frames[i], 0);
  gave = 0;
}
