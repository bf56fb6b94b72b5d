/*
 * Instead of seeded sequences: every hypercall that Xen declares for a PV guest, with good input and each kind of bad one.
 * Those that others have, too, are in lib/xen-calls.c.
 */
#include "xen.h"
#include "xen-calls.h"
#include "xen-rings.h"

extern u8 callbacks[], grant_pages[][PAGE], shared_page[];
static u8 spare[PAGE] __attribute__((aligned(4096)));

long xen_call(u64 number, u64 a, u64 b, u64 c, u64 d) { return hypercall(number, a, b, c, d, 0); }
u64 frame_of(const volatile void *address) { return mfn_of((const void *)address); }

u8 *grant_table(void) {
  OP("GNTTABOP_setup_table", 20, 2, SELF, 1, 0, 0, QUAD(other_words));
  map(grant_pages[0], *(u64 *)other_words * PAGE | 3);
  return grant_pages[0];
}

static struct toolstack_ring ring_of(u64 frame, u32 port) {
  static u8 pages[2][PAGE] __attribute__((aligned(4096)));
  static int used;
  map(pages[used], frame * PAGE | 3);
  return (struct toolstack_ring){pages[used++], port};
}
struct toolstack_ring store_ring(void) { return ring_of(start_info->store_mfn, start_info->store_evtchn); }
struct toolstack_ring console_ring(void) { return ring_of(start_info->console_mfn, start_info->console_evtchn); }

/* mmu_update: entries of frames that are no table, of tables, of nobody. Frame 0 of the test's is an L1 table for it. */
static void updates(void) {
  static const char name[] = "mmu_update";
  u64 table = frames[0] * PAGE;
  for (int kind = 0; kind < 6; kind++) PUT(QUAD(frames[2] * PAGE + kind), QUAD(kind == 1 ? pfn_of(pool[2]) : 0)), CALL(name, 1, words, 1, 0, SELF);
  CALL(name, 1, words, 0, 0, SELF);
  PUT(QUAD(table), QUAD(0));
  CALL(name, 1, words, 1, 0, DOM0);
  CALL(name, 1, words, 1, 0, NOBODY);
  CALL(name, 1, words, 1, 0, own_domid);
  CALL(name, 1, words, 1, 0, SELF | (own_domid + 1) << 16);
  CALL(name, 1, words, 1, 0, SELF | (DOM0 + 1) << 16);
  CALL(name, 1, words, 1, 0, SELF | (NOBODY + 1) << 16);
  CALL(name, 1, BAD, 1, 0, SELF);
  CALL(name, 1, XENS, 1, 0, SELF);
  PUT(QUAD(NO_FRAME * PAGE), QUAD(0)), CALL(name, 1, words, 1, 0, SELF);
  PUT(0, 0, QUAD(frames[0]));
  told("its table", xen_call(26, (u64)words, 1, 0, SELF));
  static const struct { const char *what; u64 flags; } entries[] = {
    {"to be read", 1}, {"written", 3}, {"by the user", 7}, {"with bit 52", 3 | 1ul << 52}, {"not there", 0}};
  for (int i = 0; i < 5; i++) {
    print("%s: ", entries[i].what);
    PUT(QUAD(table), QUAD(frames[3] * PAGE | entries[i].flags)), CALL(name, 1, words, 1, 0, SELF);
  }
  print("itself: "), PUT(QUAD(table), QUAD(table | 3)), CALL(name, 1, words, 1, 0, SELF);
  print("no frame: "), PUT(QUAD(table), QUAD(NO_FRAME * PAGE / 4096 | 3)), CALL(name, 1, words, 1, 0, SELF);
  print("no memory: "), PUT(QUAD(table), QUAD(PAGE | 3)), CALL(name, 1, words, 1, 0, SELF);
  print("two, the second bad: ");
  PUT(QUAD(table), QUAD(0), QUAD(table), QUAD(table | 3));
  CALL(name, 1, words, 2, other_words, SELF);
  print(" done %x\n", (u64)other_words[0]);
}

static void mappings(void) {
  static const char name[] = "update_va_mapping", other[] = "update_va_mapping_otherdomain";
  u64 entry = mfn_of(spare) * PAGE | 3;
  for (u64 flags = 0; flags < 7; flags++) CALL(name, 14, spare, entry, flags, 0);
  print("a mask: "), CALL(name, 14, spare, entry, (u64)other_words | 1, 0);
  print("no mask: "), CALL(name, 14, spare, entry, BAD | 1, 0);
  print("no table: "), CALL(name, 14, 1ul << 40, entry, 0, 0);
  print("a table: "), CALL(name, 14, spare, frames[0] * PAGE | 3, 0, 0);
  print("no memory: "), CALL(name, 14, spare, PAGE | 3, 0, 0);
  print("no frame: "), CALL(name, 14, spare, NO_FRAME | 3, 0, 0);
  print("a global page: "), CALL(name, 14, spare, entry | 0x100, 0, 0);
  print("a large page: "), CALL(name, 14, spare, entry | 0x80, 0, 0);
  CALL(other, 22, spare, entry, 0, SELF);
  CALL(other, 22, spare, frames[0] * PAGE | 3, 0, SELF);
  CALL(other, 22, spare, NO_FRAME | 3, 0, SELF);
  CALL(other, 22, spare, entry | 0x80, 0, SELF);
  CALL(other, 22, spare, entry, BAD | 1, SELF);
  CALL(other, 22, spare, entry, 0, DOM0);
  CALL(other, 22, spare, entry, 0, NOBODY);
  CALL(other, 22, spare, entry, 0, own_domid);
}

/* One mmuext_op; `mmuext_op NAME`. */
static void ext(const char *name, u32 command, u64 first, u64 second) {
  PUT(command, 0, QUAD(first), QUAD(second));
  print("%s: ", name);
  CALL("mmuext_op", 26, words, 1, 0, SELF);
}

static void extended(void) {
  u64 root = mfn_of((void *)start_info->pt_base), frame = frames[4];
  static const char *const pins[] = {"PIN_L1_TABLE", "PIN_L2_TABLE", "PIN_L3_TABLE", "PIN_L4_TABLE"};
  for (u32 level = 0; level < 4; level++) {
    ext(pins[level], level, frame, 0);
    ext(pins[level], level, frame, 0);
    ext("UNPIN_TABLE", 4, frame, 0);
    ext(pins[level], level, NO_FRAME, 0);
    /* A page that is mapped to be written. */
    ext(pins[level], level, mfn_of(spare), 0);
  }
  ext("UNPIN_TABLE", 4, frame, 0), ext("UNPIN_TABLE", 4, NO_FRAME, 0);
  ext("NEW_BASEPTR", 5, root, 0), ext("NEW_BASEPTR", 5, mfn_of(spare), 0);
  ext("TLB_FLUSH_LOCAL", 6, 0, 0);
  ext("INVLPG_LOCAL", 7, (u64)spare, 0);
  ext("TLB_FLUSH_MULTI", 8, 0, (u64)other_words), ext("TLB_FLUSH_MULTI", 8, 0, BAD);
  ext("INVLPG_MULTI", 9, (u64)spare, (u64)other_words), ext("INVLPG_MULTI", 9, (u64)spare, BAD);
  ext("TLB_FLUSH_ALL", 10, 0, 0);
  ext("INVLPG_ALL", 11, (u64)spare, 0), ext("INVLPG_ALL", 11, XENS, 0);
  ext("FLUSH_CACHE", 12, 0, 0);
  ext("SET_LDT", 13, (u64)pool[5], 512), ext("SET_LDT", 13, (u64)pool[5] + 1, 512), ext("SET_LDT", 13, (u64)pool[5], 8193);
  ext("SET_LDT", 13, XENS, 1), ext("SET_LDT", 13, 0, 0);
  ext("NEW_USER_BASEPTR", 15, root, 0), ext("NEW_USER_BASEPTR", 15, mfn_of(spare), 0), ext("NEW_USER_BASEPTR", 15, 0, 0);
  ext("CLEAR_PAGE", 16, frame, 0), ext("CLEAR_PAGE", 16, root, 0);
  ext("COPY_PAGE", 17, frame, frames[5]), ext("COPY_PAGE", 17, root, frame), ext("COPY_PAGE", 17, frame, NO_FRAME);
  ext("FLUSH_CACHE_GLOBAL", 18, 0, 0);
  ext("MARK_SUPER", 19, frame, 0), ext("UNMARK_SUPER", 20, frame, 0);
  ext("no mmuext_op", 14, 0, 0), ext("no mmuext_op", 99, 0, 0);
  /* An L1 table with a writable mapping of a page table in it. */
  PUT(QUAD(frames[6] * PAGE), QUAD(root * PAGE | 3)), CALL("mmu_update", 1, words, 1, 0, SELF);
  ext("PIN_L1_TABLE", 0, frames[6], 0);
  ext("CLEAR_PAGE", 16, frames[6], 0);
  /* A page that is no memory. */
  PUT(QUAD(frames[6] * PAGE), QUAD(PAGE | 3)), CALL("mmu_update", 1, words, 1, 0, SELF);
  ext("PIN_L1_TABLE", 0, frames[6], 0);
  ext("CLEAR_PAGE", 16, frames[6], 0);
  PUT(6);
  CALL("mmuext_op", 26, words, 1, 0, DOM0);
  CALL("mmuext_op", 26, words, 1, 0, NOBODY);
  CALL("mmuext_op", 26, words, 1, 0, own_domid);
  CALL("mmuext_op", 26, words, 0, 0, SELF);
  CALL("mmuext_op", 26, BAD, 1, 0, SELF);
  CALL("mmuext_op", 26, XENS, 1, 0, SELF);
}

static void entry_points(void) {
  static const char traps[] = "set_trap_table", set[] = "CALLBACKOP_register", take[] = "CALLBACKOP_unregister";
  PUT(HALVES(33 | 4 << 8, 0xe033), 0, QUAD(callbacks)), CALL(traps, 0, words, 0, 0, 0);
  PUT(HALVES(33, 0xe033), 0, QUAD(0x800000000000ul)), CALL(traps, 0, words, 0, 0, 0);
  CALL(traps, 0, BAD, 0, 0, 0);
  CALL(traps, 0, 0, 0, 0, 0);
  traps_init();
  CALL("set_callbacks", 4, callbacks, callbacks + 16, callbacks + 32, 0);
  for (u32 type = 0; type < 9; type++) {
    print("type %x: ", (u64)type), OP(set, 30, 0, HALVES(type, 1), 0, QUAD(callbacks + 16 * (type < 3 ? type : 2)));
    print("type %x: ", (u64)type), OP(take, 30, 1, HALVES(type, 0));
  }
  OP(set, 30, 0, HALVES(2, 0), 0, QUAD(0x800000000000ul));
  BAD_OP(set, 30, 0), BAD_OP(take, 30, 1), OP("no callback_op", 30, 2, 0);
  OP("XENNMI_register_callback", 28, 0, QUAD(callbacks));
  OP("XENNMI_register_callback", 28, 0, QUAD(0x800000000000ul));
  BAD_OP("XENNMI_register_callback", 28, 0);
  CALL("XENNMI_unregister_callback", 28, 1, 0, 0, 0);
  CALL("no nmi_op", 28, 2, 0, 0, 0);
}

static void registers(void) {
  static const char gdt[] = "set_gdt", descriptor[] = "update_descriptor", set[] = "set_debugreg", base[] = "set_segment_base";
  PUT(QUAD(frames[7]), QUAD(NO_FRAME));
  CALL(gdt, 2, words, 512, 0, 0);
  CALL(gdt, 2, words, 513, 0, 0);
  CALL(gdt, 2, words, 7169, 0, 0);
  CALL(gdt, 2, BAD, 1, 0, 0);
  static const struct { const char *what; u64 descriptor; } descriptors[] = {
    {"data", 0x00cff3000000fffful}, {"code", 0x00affb000000fffful}, {"nothing", 0}, {"a task", 0x0000890000000067ul},
    {"a gate", 0x0000ec00e0330000ul}};
  for (int i = 0; i < 5; i++) print("%s: ", descriptors[i].what), CALL(descriptor, 10, frames[7] * PAGE + 8, descriptors[i].descriptor, 0, 0);
  CALL(descriptor, 10, frames[7] * PAGE + 4, 0, 0, 0);
  CALL(descriptor, 10, NO_FRAME * PAGE, 0, 0, 0);
  CALL(descriptor, 10, mfn_of((void *)start_info->pt_base) * PAGE, 0, 0, 0);
  CALL(gdt, 2, words, 0, 0, 0);
  CALL("stack_switch", 3, 0xe02b, spare + PAGE, 0, 0);
  CALL("fpu_taskswitch", 5, 1, 0, 0, 0), CALL("fpu_taskswitch", 5, 0, 0, 0, 0);
  for (u64 index = 0; index < 9; index++) {
    u64 value = index == 6 ? 0xffff0ff0 : index == 7 ? 0x400 : 0x1000;
    print("DR%x: ", index), CALL(set, 8, index, value, 0, 0);
    print("DR%x: ", index), CALL("get_debugreg", 9, index, 0, 0, 0);
  }
  CALL(set, 8, 0, XENS, 0, 0), CALL(set, 8, 7, 1ul << 32, 0, 0), CALL(set, 8, 7, 1 << 13, 0, 0);
  for (u64 which = 0; which < 5; which++)
    print("%x: ", which), CALL(base, 25, which, which == 3 ? 0 : 0x1000, 0, 0);
  CALL(base, 25, 0, 0x800000000000ul, 0, 0);
  CALL(base, 25, 0, 0, 0, 0);
}

static void devices(void) {
  OP("PHYSDEVOP_set_iopl", 33, 6, 1), OP("PHYSDEVOP_set_iopl", 33, 6, 0), OP("PHYSDEVOP_set_iopl", 33, 6, 4);
  BAD_OP("PHYSDEVOP_set_iopl", 33, 6);
  static const char bitmap[] = "PHYSDEVOP_set_iobitmap";
  OP(bitmap, 33, 7, QUAD(spare), 65537), OP(bitmap, 33, 7, QUAD(XENS), 8), OP(bitmap, 33, 7, QUAD(0), 0), BAD_OP(bitmap, 33, 7);
  static const char first[] = "PHYSDEVOP_pirq_eoi_gmfn_v1", second[] = "PHYSDEVOP_pirq_eoi_gmfn_v2";
  OP(first, 33, 17, QUAD(NO_FRAME)), OP(second, 33, 28, QUAD(NO_FRAME)), BAD_OP(first, 33, 17), BAD_OP(second, 33, 28);
  OP(second, 33, 28, QUAD(frames[8])), OP(second, 33, 28, QUAD(frames[8])), OP(first, 33, 17, QUAD(frames[8]));
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

static void memory(void) {
  u64 *list = (u64 *)other_words, *taken = (u64 *)spare;
  static const char machine[] = "XENMEM_machine_memory_map", where[] = "XENMEM_machphys_mapping";
  OP(machine, 12, 10, 1, 0, QUAD(other_words)), OP(machine, 12, 10 | 1 << 6, 1), BAD_OP(machine, 12, 10);
  OP(where, 12, 12, 0), print(" from %x to %x, the last %x\n", *(u64 *)words, *(u64 *)(words + 2), *(u64 *)(words + 4));
  BAD_OP(where, 12, 12), OP(where, 12, 12 | 1 << 6, 0);
  OP("XENMEM_increase_reservation", 12, 0, QUAD(taken), QUAD(1), 0, 0, SELF);
  OP("XENMEM_decrease_reservation", 12, 1, QUAD(taken), QUAD(1), 0, 0, SELF);
  OP("XENMEM_decrease_reservation", 12, 1, QUAD(taken), QUAD(1), 0, 0, SELF);
  list[0] = 0x1000;
  OP("XENMEM_populate_physmap", 12, 6, QUAD(list), QUAD(1), 0, 0, SELF);
  print(" its page %x\n", M2P[list[0]]);
  static const char name[] = "XENMEM_exchange";
  taken[0] = list[0], taken[1] = 0x1000;
#define EXCHANGE(what, from, order, domain, to, out_order, flags) \
  (print("%s: ", what), OP(name, 12, 11, QUAD(from), QUAD(1), order, 0, domain, 0, QUAD(to), QUAD(1), out_order, flags, domain, 0, QUAD(0)))
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
static void grants(void) {
  static const char *const names[] = {
    [4] = "GNTTABOP_transfer", [7] = "GNTTABOP_unmap_and_replace", [9] = "GNTTABOP_get_status_frames", [12] = "GNTTABOP_cache_flush"};
  static const int lists[] = {4, 7, 12};
#define GRANT(command, ...) OP(names[command], 20, command, __VA_ARGS__)
#define STATUS(word) print(" status %x\n", (u64)((word) & 0xffff))
  for (int i = 0; i < 3; i++) {
    CALL(names[lists[i]], 20, lists[i], words, 1u << 31, 0);
    CALL(names[lists[i]], 20, lists[i], BAD, 1, 0);
    CALL(names[lists[i]], 20, lists[i], words, 0, 0);
  }
  CALL(names[9], 20, 9, words, 2, 0), CALL(names[9], 20, 9, BAD, 1, 0);
  u16 *entry = (u16 *)(grant_table() + 9 * 8);
  entry[0] = 1, entry[1] = own_domid, *(u32 *)(entry + 2) = frames[9];
  static const char map_ref[] = "GNTTABOP_map_grant_ref", unmap_ref[] = "GNTTABOP_unmap_grant_ref", version[] = "GNTTABOP_set_version";
  for (u32 flags = 0; flags < 32; flags++) {
    print("flags %x: ", (u64)flags), OP(map_ref, 20, 0, QUAD(spare), flags, 9, own_domid), STATUS(words[4] >> 16);
    if (words[4] >> 16) continue;
    u32 handle = words[5];
    OP(version, 20, 8, 2);
    OP(unmap_ref, 20, 1, QUAD(flags & 2 ? spare : 0), QUAD(flags & 1 ? frames[9] * PAGE : 0), handle), STATUS(words[5]);
    OP(unmap_ref, 20, 1, QUAD(flags & 2 ? spare : 0), QUAD(0), handle), STATUS(words[5]);
    map(spare, mfn_of(spare) * PAGE | 3);
  }
  OP(map_ref, 20, 0, QUAD(spare), 2, 9, own_domid), STATUS(words[4] >> 16);
  u32 handle = words[5];
  GRANT(7, QUAD(spare), QUAD(BAD), handle), STATUS(words[5]);
  GRANT(7, QUAD(spare), QUAD(shared_page), handle), STATUS(words[5]);
  GRANT(7, QUAD(spare), QUAD(shared_page), handle), STATUS(words[5]);
  map(spare, mfn_of(spare) * PAGE | 3);
  map(shared_page, start_info->shared_info | 3);
  GRANT(4, QUAD(NO_FRAME), HALVES(own_domid, 0), 10), STATUS(words[4]);
  GRANT(4, QUAD(mfn_of(spare)), HALVES(NOBODY, 0), 10), STATUS(words[4]);
  entry[0] = 0;
  OP(version, 20, 8, 2);
  GRANT(9, 1, SELF, QUAD(other_words)), STATUS(words[1] >> 16);
  GRANT(9, 99, SELF, QUAD(other_words)), STATUS(words[1] >> 16);
  GRANT(9, 1, NOBODY, QUAD(other_words)), STATUS(words[1] >> 16);
  OP(version, 20, 8, 1);
  u64 address = mfn_of(spare) * PAGE;
  for (u32 what = 0; what < 5; what++) print("operation %x: ", (u64)what), GRANT(12, QUAD(address), HALVES(0, 64), what);
  GRANT(12, QUAD(address), HALVES(4096, 0), 1), GRANT(12, QUAD(address), HALVES(64, 4090), 1);
  GRANT(12, QUAD(NO_FRAME * PAGE), HALVES(0, 64), 1), GRANT(12, QUAD(PAGE), HALVES(0, 64), 1);
}

/* vCPU 1: it begins with a data segment that cannot be loaded, so by its failsafe callback. */
static volatile u32 mark;
static u8 second_stack[PAGE] __attribute__((aligned(16)));
static void __attribute__((used)) second_end(void) {
  H3(VCPU_OP, 2, 1, 0);
  mark = 99;
}
static void __attribute__((naked)) second(void) { asm volatile("movl $1, mark(%rip); call second_end; ud2"); }
static void __attribute__((naked)) second_failsafe(void) { asm volatile("movl $2, mark(%rip); and $-16, %rsp; call second_end; ud2"); }

static void second_vcpu(void) {
  static u64 context[5168 / 8];
  context[0x200 / 8] = 4;
  context[0x288 / 8] = (u64)second, context[0x290 / 8] = 0xe033, context[0x298 / 8] = 0x202;
  context[0x2a0 / 8] = (u64)second_stack + sizeof second_stack - 256, context[0x2a8 / 8] = 0xe02b;
  context[0x2b8 / 8] = 0x13;
  context[0x1368 / 8] = 0xe02b, context[0x1370 / 8] = (u64)second_stack + sizeof second_stack;
  context[0x1390 / 8] = mfn_of((void *)start_info->pt_base) * PAGE;
  context[0x13f8 / 8] = (u64)callbacks, context[0x1400 / 8] = (u64)second_failsafe, context[0x1408 / 8] = (u64)callbacks;
  static const char name[] = "VCPUOP_initialise";
  context[0x288 / 8] = 0x800000000000ul, CALL(name, 24, 0, 1, context, 0);
  context[0x288 / 8] = (u64)second, CALL(name, 24, 0, 1, context, 0);
  CALL(name, 24, 0, 1, context, 0);
  CALL("VCPUOP_up", 24, 1, 1, 0, 0);
  while (mark == 0) H2(SCHED_OP, 0, 0);
  print("it began by %s\n", mark == 2 ? "failsafe" : "its RIP");
  while (xen_call(24, 3, 1, 0, 0)) H2(SCHED_OP, 0, 0);
}

/* CPUID by forced emulation: what Xen says of itself. */
static void leaves(void) {
  for (u64 leaf = 0; leaf < 6; leaf++) {
    u64 a = 0x40000000 + leaf, b, c = 0, d;
    asm volatile("ud2; .ascii \"xen\"; cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    /* The frequency of the TSC is the host's. */
    if (leaf == 3) print("leaf 3 %x\n", a & 1);
    else print("leaf %x %x %x %x %x\n", leaf, a, b, c, d);
  }
}

void every(void) {
  /* Frames that can become tables. */
  for (int i = 0; i < FRAMES; i++) map(pool[i], frames[i] * PAGE | 1);
  quiet();
  leaves();
  ask_version();
  ask_memory();
  memory();
  updates();
  mappings();
  extended();
  entry_points();
  registers();
  devices();
  ask_vcpus();
  second_vcpu();
  ask_scheduler();
  /* The LDT's first segment is not present. */
  CALL("update_descriptor", 10, frames[5] * PAGE, 0x00cf73000000fffful, 0, 0);
  ext("SET_LDT", 13, (u64)pool[5], 512);
  CALL("sched_op_compat", 6, 0, 0, 0, 0);
  CALL("sched_op_compat", 6, 9, 0, 0, 0);
  user_all();
  ask_events();
  grants();
  ask_rings();
  ask_grants();
  ask_hvm();
  ask_refused();
  ask_multicalls();
  ask_all_ports();
  OP("SCHEDOP_shutdown", 29, 2, 0);
}
