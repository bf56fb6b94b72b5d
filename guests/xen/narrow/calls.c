/* What only PV guests have, in the forms of 32-bit ones. */
#include "narrow.h"

/* Pages that become tables and descriptor tables, and one that stays the guest's own. */
static u8 pool[8][PAGE] __attribute__((aligned(4096)));
static u8 spare[PAGE] __attribute__((aligned(4096)));
static u32 frames[8];
/* This domain, by its number. */
#define OWN 1u

#define UPDATE(pointer, value) (PUT(QUAD(pointer), QUAD(value)), CALL("mmu_update", 1, words, 1, 0, SELF))
static const char va_mapping[] = "update_va_mapping", other_mapping[] = "update_va_mapping_otherdomain";
/* An address and an entry; flags. */
#define VA(address, entry, flags) \
  told(va_mapping, hypercall(14, (u32)(address), (u32)(entry), (u64)(entry) >> 32, (u32)(flags), 0))
#define VA_OTHER(address, entry, flags, domain) \
  told(other_mapping, hypercall(22, (u32)(address), (u32)(entry), (u64)(entry) >> 32, (u32)(flags), domain))

/* One mmuext_op. */
static void ext(const char *name, u32 command, u32 first, u32 second) {
  PUT(command, first, second);
  print("%s: ", name);
  CALL("mmuext_op", 26, words, 1, 0, SELF);
}

static void updates(void) {
  u64 table = (u64)frames[0] * PAGE;
  u64 data = (u64)frames[2] * PAGE;
  for (u32 kind = 0; kind < 6; kind++) UPDATE(data + kind, kind == 1 ? ((u32)pool[2] - VIRT_BASE) / PAGE : 0);
  CALL("mmu_update", 1, words, 0, 0, SELF);
  static const u32 domains[] = {DOM0, NOBODY, OWN, SELF | (OWN + 1) << 16, SELF | (DOM0 + 1) << 16, SELF | (NOBODY + 1) << 16};
  for (int i = 0; i < 6; i++) PUT(QUAD(table), QUAD(0)), CALL("mmu_update", 1, words, 1, 0, domains[i]);
  CALL("mmu_update", 1, BAD, 1, 0, SELF);
  CALL("mmu_update", 1, XENS, 1, 0, SELF);
  UPDATE((u64)NO_FRAME * PAGE, 0);
  ext("PIN_L1_TABLE", 0, frames[0], 0);
  u64 entry = (u64)frames[3] * PAGE;
  UPDATE(table, entry | 1), UPDATE(table, entry | 3), UPDATE(table, entry | 7), UPDATE(table, entry | 1ull << 52 | 3);
  UPDATE(table, 0);
  print("itself: "), UPDATE(table, table | 3);
  print("no frame: "), UPDATE(table, (u64)NO_FRAME * PAGE | 3);
  print("no memory: "), UPDATE(table, PAGE | 3);
}

static void mappings(void) {
  u64 entry = (u64)frame_of(spare) * PAGE | 3;
  for (u32 flags = 0; flags < 7; flags++) VA(spare, entry, flags);
  print("a mask: "), VA(spare, entry, (u32)other_words | 1);
  print("no mask: "), VA(spare, entry, BAD | 1);
  print("no table: "), VA(0x40000000, entry, 0);
  print("Xen's: "), VA(XENS, entry, 0);
  print("a table: "), VA(spare, (u64)frames[0] * PAGE | 3, 0);
  print("no memory: "), VA(spare, PAGE | 3, 0);
  print("no frame: "), VA(spare, (u64)NO_FRAME * PAGE | 3, 0);
  print("a large page: "), VA(spare, entry | 0x80, 0);
  VA_OTHER(spare, entry, 0, SELF), VA_OTHER(spare, entry, 0, OWN), VA_OTHER(spare, entry, 0, DOM0), VA_OTHER(spare, entry, 0, NOBODY);
  VA_OTHER(spare, (u64)frames[0] * PAGE | 3, 0, SELF), VA_OTHER(spare, PAGE | 3, 0, SELF), VA_OTHER(spare, entry | 0x80, 0, SELF);
  VA_OTHER(spare, entry, BAD | 1, SELF);
}

static void extended(void) {
  u32 root = frame_of((void *)start_info->pt_base), frame = frames[4];
  static const char *const pins[] = {"PIN_L1_TABLE", "PIN_L2_TABLE", "PIN_L3_TABLE", "PIN_L4_TABLE"};
  for (u32 level = 0; level < 4; level++) {
    ext(pins[level], level, frame, 0), ext(pins[level], level, frame, 0);
    ext("UNPIN_TABLE", 4, frame, 0);
    ext(pins[level], level, NO_FRAME, 0);
    /* A page that is mapped to be written. */
    ext(pins[level], level, frame_of(spare), 0);
  }
  ext("UNPIN_TABLE", 4, frame, 0), ext("UNPIN_TABLE", 4, NO_FRAME, 0);
  ext("NEW_BASEPTR", 5, root, 0), ext("NEW_BASEPTR", 5, frame_of(spare), 0);
  ext("TLB_FLUSH_LOCAL", 6, 0, 0), ext("INVLPG_LOCAL", 7, (u32)spare, 0);
  ext("TLB_FLUSH_MULTI", 8, 0, (u32)other_words), ext("TLB_FLUSH_MULTI", 8, 0, BAD);
  ext("INVLPG_MULTI", 9, (u32)spare, (u32)other_words), ext("INVLPG_MULTI", 9, (u32)spare, BAD);
  ext("TLB_FLUSH_ALL", 10, 0, 0), ext("INVLPG_ALL", 11, (u32)spare, 0), ext("FLUSH_CACHE", 12, 0, 0);
  ext("SET_LDT", 13, (u32)pool[5], 512), ext("SET_LDT", 13, (u32)pool[5] + 1, 512), ext("SET_LDT", 13, (u32)pool[5], 8193);
  ext("SET_LDT", 13, XENS, 1), ext("SET_LDT", 13, 0, 0);
  ext("NEW_USER_BASEPTR", 15, root, 0);
  ext("CLEAR_PAGE", 16, frame, 0), ext("CLEAR_PAGE", 16, root, 0);
  ext("COPY_PAGE", 17, frame, frames[5]), ext("COPY_PAGE", 17, root, frame), ext("COPY_PAGE", 17, frame, NO_FRAME);
  ext("FLUSH_CACHE_GLOBAL", 18, 0, 0);
  ext("MARK_SUPER", 19, frame, 0), ext("UNMARK_SUPER", 20, frame, 0);
  ext("no mmuext_op", 14, 0, 0), ext("no mmuext_op", 99, 0, 0);
  /* L1 tables with a writable mapping of a page table, and of a page that is no memory. */
  UPDATE((u64)frames[6] * PAGE, (u64)root * PAGE | 3), ext("PIN_L1_TABLE", 0, frames[6], 0), ext("CLEAR_PAGE", 16, frames[6], 0);
  UPDATE((u64)frames[6] * PAGE, PAGE | 3), ext("PIN_L1_TABLE", 0, frames[6], 0), ext("CLEAR_PAGE", 16, frames[6], 0);
  static const u32 domains[] = {DOM0, NOBODY, OWN};
  for (int i = 0; i < 3; i++) PUT(6), CALL("mmuext_op", 26, words, 1, 0, domains[i]);
  CALL("mmuext_op", 26, words, 0, 0, SELF);
  CALL("mmuext_op", 26, BAD, 1, 0, SELF);
  CALL("mmuext_op", 26, XENS, 1, 0, SELF);
}

void tables(void) {
  for (int i = 0; i < 8; i++) frames[i] = frame_of(pool[i]), map(pool[i], (u64)frames[i] * PAGE | 1);
  updates();
  mappings();
  extended();
}

/* Selectors of Xen's flat segments for the kernel: FLAT_RING1_CS, _DS. */
#define CS 0xe019u
#define DS 0xe021u

void entry_points(void) {
  static const char traps[] = "set_trap_table", set[] = "CALLBACKOP_register", take[] = "CALLBACKOP_unregister", both[] = "set_callbacks";
  /* vector and flags, selector, address. */
  PUT(HALVES(33 | 4 << 8, CS), (u32)handler), CALL(traps, 0, words, 0, 0, 0);
  PUT(HALVES(33, DS), (u32)handler), CALL(traps, 0, words, 0, 0, 0);
  CALL(traps, 0, BAD, 0, 0, 0), CALL(traps, 0, 0, 0, 0, 0);
  CALL(both, 4, CS, handler, CS, handler);
  for (u32 type = 0; type < 9; type++) {
    print("type %x: ", type), OP(set, 30, 0, HALVES(type, 1), CS, (u32)handler);
    print("type %x: ", type), OP(take, 30, 1, HALVES(type, 0));
  }
  BAD_OP(set, 30, 0), BAD_OP(take, 30, 1), OP("no callback_op", 30, 2, 0);
  OP("XENNMI_register_callback", 28, 0, (u32)handler);
  BAD_OP("XENNMI_register_callback", 28, 0);
  CALL("XENNMI_unregister_callback", 28, 1, 0, 0, 0);
  CALL("no nmi_op", 28, 2, 0, 0, 0);
}

void registers(void) {
  static const char gdt[] = "set_gdt", descriptor[] = "update_descriptor", set[] = "set_debugreg", get[] = "get_debugreg";
  PUT(frames[7]), CALL(gdt, 2, words, 512, 0, 0);
  CALL(gdt, 2, words, 7169, 0, 0), CALL(gdt, 2, BAD, 512, 0, 0);
  PUT(frame_of(spare)), CALL(gdt, 2, words, 512, 0, 0);
  u64 data = 0x00cf93000000ffffull, system = 0x00008b0000000066ull, place = (u64)frames[7] * PAGE;
  CALL64(descriptor, 10, place + 8, data), CALL64(descriptor, 10, place + 8, system), CALL64(descriptor, 10, place + 4, 0);
  CALL64(descriptor, 10, (u64)NO_FRAME * PAGE, 0);
  CALL64(descriptor, 10, (u64)frame_of((void *)start_info->pt_base) * PAGE, 0);
  CALL(gdt, 2, words, 0, 0, 0);
  CALL("stack_switch", 3, DS, spare + PAGE, 0, 0);
  CALL("fpu_taskswitch", 5, 1, 0, 0, 0), CALL("fpu_taskswitch", 5, 0, 0, 0, 0);
  for (u32 index = 0; index < 9; index++) {
    u32 value = index == 6 ? 0xffff0ff0 : index == 7 ? 0x400 : 0x1000;
    print("DR%x: ", index), CALL(set, 8, index, value, 0, 0);
    print("DR%x: ", index), CALL(get, 9, index, 0, 0, 0);
  }
  CALL(set, 8, 0, XENS, 0, 0), CALL(set, 8, 7, 1 << 13, 0, 0);
  for (u32 which = 0; which < 5; which++) print("%x: ", which), CALL("set_segment_base", 25, which, 0x1000, 0, 0);
}

void devices(void) {
  OP("PHYSDEVOP_set_iopl", 33, 6, 1), OP("PHYSDEVOP_set_iopl", 33, 6, 0), OP("PHYSDEVOP_set_iopl", 33, 6, 4);
  BAD_OP("PHYSDEVOP_set_iopl", 33, 6);
  static const char bitmap[] = "PHYSDEVOP_set_iobitmap";
  OP(bitmap, 33, 7, (u32)spare, 65537), OP(bitmap, 33, 7, XENS, 8), OP(bitmap, 33, 7, 0, 0), BAD_OP(bitmap, 33, 7);
  static const char first[] = "PHYSDEVOP_pirq_eoi_gmfn_v1", second[] = "PHYSDEVOP_pirq_eoi_gmfn_v2";
  OP(first, 33, 17, NO_FRAME), OP(second, 33, 28, NO_FRAME), BAD_OP(first, 33, 17), BAD_OP(second, 33, 28);
  OP(second, 33, 28, frame_of(spare)), OP(second, 33, 28, frame_of(spare)), OP(first, 33, 17, frame_of(spare));
  static const struct { const char *name; u32 command; } refused[] = {
    {"PHYSDEVOP_apic_read", 8}, {"PHYSDEVOP_apic_write", 9}, {"PHYSDEVOP_manage_pci_add", 15}, {"PHYSDEVOP_manage_pci_remove", 16},
    {"PHYSDEVOP_manage_pci_add_ext", 20}, {"PHYSDEVOP_pci_device_add", 25}, {"PHYSDEVOP_pci_device_remove", 26},
    {"PHYSDEVOP_restore_msi_ext", 27}, {"PHYSDEVOP_prepare_msix", 30}, {"PHYSDEVOP_release_msix", 31}};
  for (int i = 0; i < 10; i++) OP(refused[i].name, 33, refused[i].command, 0), BAD_OP(refused[i].name, 33, refused[i].command);
  OP("no physdev_op", 33, 99, 0);
  /* As older guests: the command stands in the structure. */
  static const char events[] = "event_channel_op_compat", physical[] = "physdev_op_compat";
  PUT(5, SELF, 0), CALL(events, 16, words, 0, 0, 0), PUT(10, SELF), CALL(events, 16, words, 0, 0, 0), CALL(events, 16, BAD, 0, 0, 0);
  PUT(6, 0, 0), CALL(physical, 19, words, 0, 0, 0), PUT(99), CALL(physical, 19, words, 0, 0, 0), CALL(physical, 19, BAD, 0, 0, 0);
  CALL("kexec_op", 37, 0, words, 0, 0);
  CALL("mca", 48, 0, words, 0, 0);
}

void memory(void) {
  u32 *list = other_words, *taken = (u32 *)spare;
  static const char machine[] = "XENMEM_machine_memory_map", where[] = "XENMEM_machphys_mapping";
  OP(machine, 12, 10, 1, (u32)other_words), OP(machine, 12, 10 | 1 << 6, 1), BAD_OP(machine, 12, 10);
  OP(where, 12, 12, 0), print(" from %x to %x, the last %x\n", words[0], words[1], words[2]);
  BAD_OP(where, 12, 12), OP(where, 12, 12 | 1 << 6, 0);
  OP("XENMEM_increase_reservation", 12, 0, (u32)taken, 1, 0, 0, SELF);
  OP("XENMEM_decrease_reservation", 12, 1, (u32)taken, 1, 0, 0, SELF);
  OP("XENMEM_decrease_reservation", 12, 1, (u32)taken, 1, 0, 0, SELF);
  list[0] = 0x1000;
  OP("XENMEM_populate_physmap", 12, 6, (u32)list, 1, 0, 0, SELF);
  print(" its page %x\n", M2P[list[0]]);
  static const char name[] = "XENMEM_exchange";
  taken[0] = list[0], taken[1] = 0x1000;
#define EXCHANGE(what, from, order, domain, to, out_order, flags) \
  (print("%s: ", what), OP(name, 12, 11, (u32)(from), 1, order, 0, domain, (u32)(to), 1, out_order, flags, domain, 0))
  EXCHANGE("of dom0", taken, 0, DOM0, taken + 1, 0, 0);
  EXCHANGE("of nobody", taken, 0, NOBODY, taken + 1, 0, 0);
  EXCHANGE("too large", taken, 10, SELF, taken + 1, 10, 0);
  EXCHANGE("of two sizes", taken, 0, SELF, taken + 1, 9, 0);
  EXCHANGE("no list", BAD, 0, SELF, taken + 1, 0, 0);
  EXCHANGE("below 1 MiB", taken, 0, SELF, taken + 1, 0, 20);
  EXCHANGE("in use", list + 1, 0, SELF, taken + 1, 0, 0);
  EXCHANGE("one", taken, 0, SELF, taken + 1, 0, 0);
  print(" its page %x\n", M2P[taken[1]]);
  EXCHANGE("no more", taken, 0, SELF, taken + 1, 0, 0);
  BAD_OP(name, 12, 11);
}

/* Grants of the domain to itself, beyond what guests of all kinds can do. */
void grants(void) {
  static const char *const names[] = {
    [4] = "GNTTABOP_transfer", [7] = "GNTTABOP_unmap_and_replace", [9] = "GNTTABOP_get_status_frames", [12] = "GNTTABOP_cache_flush"};
  static const int lists[] = {4, 7, 12};
#define GRANT(command, ...) OP(names[command], 20, command, __VA_ARGS__)
#define STATUS(word) print(" status %x\n", (u32)((word) & 0xffff))
  for (int i = 0; i < 3; i++) {
    CALL(names[lists[i]], 20, lists[i], words, 1u << 31, 0);
    CALL(names[lists[i]], 20, lists[i], BAD, 1, 0);
    CALL(names[lists[i]], 20, lists[i], words, 0, 0);
  }
  CALL(names[9], 20, 9, words, 2, 0), CALL(names[9], 20, 9, BAD, 1, 0);
  static u8 granted[PAGE] __attribute__((aligned(4096))), place[PAGE] __attribute__((aligned(4096)));
  u16 *entry = (u16 *)(grant_table() + 9 * 8);
  entry[0] = 1, entry[1] = OWN, *(u32 *)(entry + 2) = frame_of(granted);
  static const char map_ref[] = "GNTTABOP_map_grant_ref", unmap_ref[] = "GNTTABOP_unmap_grant_ref", version[] = "GNTTABOP_set_version";
  u64 own = (u64)frame_of(spare) * PAGE | 3, other = (u64)frame_of(place) * PAGE | 3;
  OP(map_ref, 20, 0, QUAD((u32)spare), 2, 9, OWN), STATUS(words[4] >> 16);
  u32 handle = words[5];
  OP(version, 20, 8, 2);
  OP(unmap_ref, 20, 1, QUAD((u32)spare), QUAD(0), handle), STATUS(words[5]);
  OP(unmap_ref, 20, 1, QUAD((u32)spare), QUAD(0), handle), STATUS(words[5]);
  map(spare, own);
  OP(map_ref, 20, 0, QUAD((u32)spare), 2, 9, OWN), STATUS(words[4] >> 16);
  handle = words[5];
  GRANT(7, QUAD((u32)spare), QUAD(BAD), handle), STATUS(words[5]);
  GRANT(7, QUAD((u32)spare), QUAD((u32)place), handle), STATUS(words[5]);
  GRANT(7, QUAD((u32)spare), QUAD((u32)place), handle), STATUS(words[5]);
  map(spare, own), map(place, other);
  GRANT(4, NO_FRAME, HALVES(OWN, 0), 10), STATUS(words[3]);
  GRANT(4, frame_of(spare), HALVES(NOBODY, 0), 10), STATUS(words[3]);
  entry[0] = 0;
  OP(version, 20, 8, 2);
  GRANT(9, 1, SELF, QUAD((u32)other_words)), STATUS(words[1] >> 16);
  GRANT(9, 99, SELF, QUAD((u32)other_words)), STATUS(words[1] >> 16);
  GRANT(9, 1, NOBODY, QUAD((u32)other_words)), STATUS(words[1] >> 16);
  OP(version, 20, 8, 1);
  u64 address = (u64)frame_of(spare) * PAGE;
  for (u32 what = 0; what < 5; what++) print("operation %x: ", what), GRANT(12, QUAD(address), HALVES(0, 64), what);
  GRANT(12, QUAD(address), HALVES(4096, 0), 1), GRANT(12, QUAD(address), HALVES(64, 4090), 1);
  GRANT(12, QUAD((u64)NO_FRAME * PAGE), HALVES(0, 64), 1), GRANT(12, QUAD(PAGE), HALVES(0, 64), 1);
}
