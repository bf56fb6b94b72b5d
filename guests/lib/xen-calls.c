/* Hypercalls of Xen that guests of all kinds can make, one by one (xen-calls.h). */
#include "xen-calls.h"

unsigned int words[1024] __attribute__((aligned(4096))), other_words[1024] __attribute__((aligned(4096)));
unsigned char moving_page[4096] __attribute__((aligned(4096)));

void put(int count, const unsigned int *values) {
  for (int i = 0; i < 64; i++) ((volatile unsigned int *)words)[i] = i < count ? values[i] : 0;
}

static const char *const errors[] = {
  [1] = "EPERM", [2] = "ENOENT", [3] = "ESRCH", [6] = "ENXIO", [7] = "E2BIG", [11] = "EAGAIN", [12] = "ENOMEM",
  [13] = "EACCES", [14] = "EFAULT", [16] = "EBUSY", [17] = "EEXIST", [19] = "ENODEV", [22] = "EINVAL", [28] = "ENOSPC",
  [33] = "EDOM", [34] = "ERANGE", [38] = "ENOSYS", [61] = "ENODATA", [75] = "EOVERFLOW", [84] = "EILSEQ",
  [95] = "EOPNOTSUPP"};

long told(const char *name, long answer) {
  unsigned long error = -answer;
  if (error < sizeof errors / sizeof *errors && errors[error]) print("%s %s\n", name, errors[error]);
  else print("%s %x\n", name, answer);
  return answer;
}

void ask_version(void) {
  static const char *const names[] = {
    "XENVER_version", "XENVER_extraversion", "XENVER_compile_info", "XENVER_capabilities", "XENVER_changeset",
    "XENVER_platform_parameters", "XENVER_get_features", "XENVER_pagesize", "XENVER_guest_handle", "XENVER_commandline",
    "XENVER_build_id", "no xen_version"};
  for (int command = 0; command < 12; command++) {
    PUT(0);
    CALL(names[command], 17, command, words, 0, 0);
    CALL(names[command], 17, command, BAD, 0, 0);
  }
  CALL("XENVER_pagesize", 17, 7, 0, 0, 0);
  OP("XENVER_get_features", 17, 6, 1);
}

/* Of these domains: this one, its number (1), dom0, none. */
static void about(const char *name, unsigned long number, unsigned long command) {
  OP(name, number, command, SELF);
  OP(name, number, command, 1);
  OP(name, number, command, DOM0);
  OP(name, number, command, NOBODY);
  BAD_OP(name, number, command);
}

/* A count of frames, which is the host's business. */
static void count(const char *name, unsigned long command) {
  PUT(SELF);
  print("%s %s\n", name, xen_call(12, command, (unsigned long)words, 0, 0) > 0 ? "some" : "none");
  OP(name, 12, command, DOM0);
  OP(name, 12, command, NOBODY);
  BAD_OP(name, 12, command);
  OP(name, 12, command | 1 << 6, SELF);
}

static void physmap(void) {
  static const char name[] = "XENMEM_add_to_physmap";
  /* domid and size, space, index, frame. */
  OP(name, 12, 7, HALVES(SELF, 0), 4, LONG(0), LONG(0));
  OP(name, 12, 7, HALVES(DOM0, 0), 0, LONG(0), LONG(0));
  OP(name, 12, 7, HALVES(NOBODY, 0), 0, LONG(0), LONG(0));
  OP(name, 12, 7, HALVES(SELF, 0), 5, LONG(0), LONG(0));
  OP(name, 12, 7, HALVES(SELF, 0), 0, LONG(0), LONG(-1ul));
  OP(name, 12, 7, HALVES(SELF, 0), 6, LONG(0), LONG(0));
  OP(name, 12, 7ul | 0x10000 << 6, HALVES(SELF, 0), 0, LONG(0), LONG(0));
  OP(name, 12, 7 | 1 << 6, HALVES(SELF, 0), 3, LONG(0), LONG(0));
  OP(name, 12, 7, HALVES(SELF, 5), 3, LONG(-3ul), LONG(0));
  BAD_OP(name, 12, 7);
  static const char remove[] = "XENMEM_remove_from_physmap";
  OP(remove, 12, 15, DOM0, GAP LONG(0));
  OP(remove, 12, 15, NOBODY, GAP LONG(0));
  OP(remove, 12, 15, SELF, GAP LONG(NO_FRAME));
  OP(remove, 12, 15 | 1 << 6, SELF, GAP LONG(0));
  BAD_OP(remove, 12, 15);
}

static void reservations(void) {
  static const char *const names[] = {"XENMEM_increase_reservation", "XENMEM_decrease_reservation", [6] = "XENMEM_populate_physmap"};
  static const int commands[] = {0, 1, 6};
  for (int i = 0; i < 3; i++) {
    const char *name = names[commands[i]];
    int command = commands[i];
    /* None; more than 2 MiB; of others; a list that is not there; none of the structure. */
    OP(name, 12, command, LONG(other_words), LONG(0), 0, 0, SELF);
    OP(name, 12, command, LONG(other_words), LONG(1), 10, 0, SELF);
    OP(name, 12, command, LONG(other_words), LONG(1), 0, 0, DOM0);
    OP(name, 12, command, LONG(other_words), LONG(1), 0, 0, NOBODY);
    OP(name, 12, command, LONG(BAD), LONG(1), 0, 0, command ? SELF : NOBODY);
    OP(name, 12, command, LONG(XENS), LONG(1), 0, 0, command ? SELF : NOBODY);
    BAD_OP(name, 12, command);
  }
}

static void batches(void) {
  static const char name[] = "XENMEM_add_to_physmap_batch";
  unsigned long *indices = (unsigned long *)other_words, *targets = indices + 8;
  int *answers = (int *)(indices + 16);
#define BATCH(more, domain, space, size, foreign, from, to, errs) \
  OP(name, 12, 23 | (more) << 6, HALVES(domain, space), HALVES(size, foreign), LONG(from), LONG(to), LONG(errs))
  for (int i = 0; i < 3; i++) indices[i] = 1, targets[i] = NO_FRAME, answers[i] = 1;
  BATCH(0ul, SELF, 0, 3, 0, indices, targets, answers);
  for (int i = 0; i < 3; i++) told(" of it", answers[i]);
  BATCH(0ul, SELF, 4, 1, DOM0, indices, targets, answers);
  told(" of it", answers[0]);
  BATCH(0ul, SELF, 0, 0, 0, BAD, BAD, BAD);
  BATCH(0ul, DOM0, 0, 1, 0, indices, targets, answers);
  BATCH(0ul, NOBODY, 0, 1, 0, indices, targets, answers);
  BATCH(0ul, SELF, 3, 1, 0, indices, targets, answers);
  BATCH(0ul, SELF, 5, 1, 0, indices, targets, answers);
  BATCH(0ul, SELF, 0, 1, 0, BAD, targets, answers);
  BATCH(0ul, SELF, 0, 1, 0, indices, targets, BAD);
  targets[2] = -1;
  BATCH(2ul, SELF, 0, 3, 0, indices, targets, answers);
  BATCH(3ul, SELF, 0, 3, 0, indices, targets, answers);
  BATCH(4ul, SELF, 0, 3, 0, indices, targets, answers);
  BATCH(0x10000ul, SELF, 0, 3, 0, indices, targets, answers);
  BATCH(1ul << 26, SELF, 0, 3, 0, indices, targets, answers);
  BAD_OP(name, 12, 23);
}

/* What toolstacks and device models ask. */
static void tools(void) {
  static const char claim[] = "XENMEM_claim_pages";
  OP(claim, 12, 24, LONG(0), LONG(1), 0, 0, DOM0);
  OP(claim, 12, 24, LONG(0), LONG(1), 0, 0, SELF);
  OP(claim, 12, 24, LONG(0), LONG(1), 1, 0, DOM0);
  OP(claim, 12, 24 | 1 << 6, LONG(0), LONG(1), 0, 0, DOM0);
  BAD_OP(claim, 12, 24);
  static const char *const pods[] = {"XENMEM_set_pod_target", "XENMEM_get_pod_target"};
  static const char *const counts[] = {"XENMEM_get_sharing_freed_pages", "XENMEM_get_sharing_shared_pages"};
  static const unsigned int domains[] = {SELF, 1, DOM0, NOBODY};
  for (int i = 0; i < 2; i++) {
    for (int k = 0; k < 4; k++) OP(pods[i], 12, 16 + i, QUAD(1), QUAD(2), QUAD(3), QUAD(4), domains[k]);
    OP(pods[i], 12, (16 + i) | 1 << 6, QUAD(1), QUAD(2), QUAD(3), QUAD(4), SELF);
    BAD_OP(pods[i], 12, 16 + i);
    BAD_OP(counts[i], 12, 18 + i);
    BAD_OP(counts[i], 12, (18 + i) | 1 << 6);
  }
  static const char access[] = "XENMEM_access_op", nodes[] = "XENMEM_get_vnumainfo";
  for (int k = 0; k < 4; k++) OP(access, 12, 21, HALVES(1, domains[k]), 1);
  OP(access, 12, 21 | 1 << 6, HALVES(1, NOBODY), 1);
  BAD_OP(access, 12, 21);
  for (int k = 0; k < 4; k++) OP(nodes, 12, 26, domains[k], 1, 1, 1);
  OP(nodes, 12, 26, HALVES(SELF, 1), 1, 1, 1);
  OP(nodes, 12, 26 | 1 << 6, SELF, 1, 1, 1);
  BAD_OP(nodes, 12, 26);
  static const char reserved[] = "XENMEM_reserved_device_memory_map";
  OP(reserved, 12, 27, 1, 3, LONG(other_words)), print(" %x of them\n", (unsigned long)words[1]);
  OP(reserved, 12, 27, 2, 3, LONG(other_words));
  OP(reserved, 12, 27 | 1 << 6, 1, 3, LONG(other_words));
  BAD_OP(reserved, 12, 27);
  static const char resource[] = "XENMEM_acquire_resource";
  for (int k = 0; k < 4; k++) OP(resource, 12, 28, HALVES(domains[k], 1), 0, 1, 0, QUAD(0), LONG(other_words));
  OP(resource, 12, 28, HALVES(DOM0, 1), 0, 1, 1, QUAD(0), LONG(other_words));
  OP(resource, 12, 28, HALVES(DOM0, 1), 0, 1, 0, QUAD(0xffffffff), LONG(other_words));
  BAD_OP(resource, 12, 28);
  /* The machine-to-physical table. */
  static const char *const tables[] = {"XENMEM_machphys_mfn_list", "XENMEM_machphys_compat_mfn_list"};
  for (int i = 0; i < 2; i++) {
    int command = i ? 25 : 5;
    OP(tables[i], 12, command, 1, GAP LONG(other_words)), print(" %x of them\n", (unsigned long)words[PICK_WIDTH(4, 2)]);
    OP(tables[i], 12, command, 0, GAP LONG(BAD));
    OP(tables[i], 12, command, 1, GAP LONG(BAD));
    OP(tables[i], 12, command | 1 << 6, 1, GAP LONG(other_words));
    BAD_OP(tables[i], 12, command);
  }
}

void ask_memory(void) {
  print("XENMEM_maximum_ram_page %s\n", xen_call(12, 2, 0, 0, 0) > 0 ? "some" : "none");
  CALL("XENMEM_maximum_ram_page", 12, 2 | 1 << 6, 0, 0, 0);
  count("XENMEM_current_reservation", 3);
  count("XENMEM_maximum_reservation", 4);
  count("XENMEM_maximum_gpfn", 14);
  static const char map[] = "XENMEM_memory_map", set[] = "XENMEM_set_memory_map";
  OP(map, 12, 9, 3, GAP LONG(other_words));
  OP(map, 12, 9, 3, GAP LONG(BAD));
  BAD_OP(map, 12, 9);
  OP(set, 12, 13, SELF, GAP 1, GAP LONG(other_words));
  OP(set, 12, 13, SELF, GAP 1025, GAP LONG(other_words));
  OP(set, 12, 13, DOM0, GAP 1, GAP LONG(other_words));
  OP(set, 12, 13, NOBODY, GAP 1, GAP LONG(other_words));
  OP(set, 12, 13, SELF, GAP 1, GAP LONG(BAD));
  BAD_OP(set, 12, 13);
  OP(set, 12, 13 | 1 << 6, SELF, GAP 1, GAP LONG(other_words));
  OP(map, 12, 9 | 1 << 6, 3, GAP LONG(other_words));
  print("none: "), OP(set, 12, 13, SELF, GAP 0, GAP LONG(0));
  OP(map, 12, 9, 3, GAP LONG(other_words));
  physmap();
  batches();
  reservations();
  tools();
  OP("no memory_op", 12, 63, SELF);
}

/* vCPU 1 is down, and has no state yet. */
void ask_vcpus(void) {
  static const char *const names[] = {
    "VCPUOP_initialise", "VCPUOP_up", "VCPUOP_down", "VCPUOP_is_up", "VCPUOP_get_runstate_info",
    "VCPUOP_register_runstate_memory_area", "VCPUOP_set_periodic_timer", "VCPUOP_stop_periodic_timer",
    "VCPUOP_set_singleshot_timer", "VCPUOP_stop_singleshot_timer", "VCPUOP_register_vcpu_info", "VCPUOP_send_nmi",
    "VCPUOP_get_physid", "VCPUOP_register_vcpu_time_memory_area", "no vcpu_op"};
  for (int command = 0; command < 15; command++) CALL(names[command], 24, command, NO_VCPU, words, 0);
  static const int pointed[] = {0, 4, 5, 6, 8, 10, 13};
  for (int i = 0; i < 7; i++) CALL(names[pointed[i]], 24, pointed[i], pointed[i] == 0, BAD, 0);
  VCPU_OP(names[0], 0, 1, 77, 77);
  VCPU_OP(names[0], 0, 0, 0);
  VCPU_OP(names[1], 1, 1, 0);
  VCPU_OP(names[1], 1, 0, 0);
  VCPU_OP(names[2], 2, 1, 0);
  VCPU_OP(names[3], 3, 0, 0);
  VCPU_OP(names[3], 3, 1, 0);
  CALL(names[4], 24, 4, 0, other_words, 0);
  VCPU_OP(names[5], 5, 0, QUAD((unsigned long)other_words));
  VCPU_OP(names[5], 5, 0, QUAD(0));
  VCPU_OP(names[6], 6, 0, QUAD(1000000));
  VCPU_OP(names[6], 6, 0, QUAD(999999));
  VCPU_OP(names[7], 7, 0, 0);
  /* Far ahead. */
  VCPU_OP(names[8], 8, 0, QUAD(1ull << 60), 1);
  VCPU_OP(names[8], 8, 1, QUAD(1ull << 60), 1);
  VCPU_OP(names[9], 9, 0, 0);
  VCPU_OP(names[9], 9, 1, 0);
  VCPU_OP(names[10], 10, 1, QUAD(frame_of(other_words)), 4095);
  VCPU_OP(names[10], 10, 1, QUAD(NO_FRAME), 64);
  VCPU_OP(names[10], 10, 1, QUAD(frame_of(other_words)), 64);
  VCPU_OP(names[10], 10, 1, QUAD(frame_of(other_words)), 64);
  VCPU_OP(names[11], 11, 1, 0);
  CALL(names[11], 24, 11, 1, 0, 0);
  VCPU_OP(names[12], 12, 0, 0);
  VCPU_OP(names[13], 13, 0, QUAD((unsigned long)other_words));
  VCPU_OP(names[13], 13, 0, QUAD(0));
  VCPU_OP(names[14], 14, 0, 0);
  CALL64("set_timer_op", 15, 1ull << 60, 0);
  CALL64("set_timer_op", 15, 0, 0);
}

void ask_scheduler(void) {
  static const char *const names[] = {
    "SCHEDOP_yield", "SCHEDOP_block", "SCHEDOP_shutdown", "SCHEDOP_poll", "SCHEDOP_remote_shutdown",
    "SCHEDOP_shutdown_code", "SCHEDOP_watchdog", "SCHEDOP_pin_override", "no sched_op"};
  CALL(names[0], 29, 0, 0, 0, 0);
  for (int command = 2; command < 9; command++) BAD_OP(names[command], 29, command);
  /* Ports, how many, until when: it passes at once. */
  other_words[0] = 1, other_words[1] = 0xfffff;
  OP(names[3], 29, 3, LONG(other_words), 1, GAP QUAD(1));
  OP(names[3], 29, 3, LONG(other_words), 2, GAP QUAD(1));
  OP(names[3], 29, 3, LONG(other_words), 129, GAP QUAD(1));
  OP(names[3], 29, 3, LONG(BAD), 1, GAP QUAD(1));
  OP(names[3], 29, 3, LONG(XENS), 1, GAP QUAD(1));
  OP(names[4], 29, 4, DOM0, 0);
  OP(names[4], 29, 4, NOBODY, 0);
  OP(names[5], 29, 5, 0);
  OP(names[6], 29, 6, 0, 300);
  OP(names[6], 29, 6, 0, 300);
  OP(names[6], 29, 6, 0, 300);
  OP(names[6], 29, 6, 1, 0);
  OP(names[6], 29, 6, 2, 0);
  OP(names[6], 29, 6, 2, 0);
  OP(names[6], 29, 6, 3, 0);
  OP(names[7], 29, 7, 0);
}

static const char *const event_names[] = {
  "EVTCHNOP_bind_interdomain", "EVTCHNOP_bind_virq", "EVTCHNOP_bind_pirq", "EVTCHNOP_close", "EVTCHNOP_send",
  "EVTCHNOP_status", "EVTCHNOP_alloc_unbound", "EVTCHNOP_bind_ipi", "EVTCHNOP_bind_vcpu", "EVTCHNOP_unmask",
  "EVTCHNOP_reset", "EVTCHNOP_init_control", "EVTCHNOP_expand_array", "EVTCHNOP_set_priority", "EVTCHNOP_reset_cont",
  "no event_channel_op"};
#define EVENT(command, ...) OP(event_names[command], 32, command, __VA_ARGS__)
#define NO_PORT 0xfffffu

void ask_events(void) {
  for (int command = 0; command < 16; command++) BAD_OP(event_names[command], 32, command);
  EVENT(6, HALVES(SELF, DOM0));
  unsigned int unbound = words[1];
  EVENT(6, HALVES(SELF, NOBODY));
  EVENT(6, HALVES(DOM0, SELF));
  EVENT(6, HALVES(NOBODY, SELF));
  EVENT(6, HALVES(SELF, SELF));
  unsigned int offered = words[1];
  EVENT(0, SELF, offered);
  unsigned int bound = words[2];
  EVENT(0, SELF, offered);
  EVENT(0, DOM0, unbound);
  EVENT(0, NOBODY, 1);
  EVENT(1, 2, 0);
  unsigned int virq = words[2];
  EVENT(1, 2, 0);
  EVENT(1, 99, 0);
  EVENT(1, 3, 1);
  EVENT(1, 1, NO_VCPU);
  EVENT(2, 3, 0);
  EVENT(7, 0);
  unsigned int ipi = words[1];
  EVENT(7, NO_VCPU);
  EVENT(8, offered, 1);
  EVENT(8, offered, 0);
  EVENT(8, offered, NO_VCPU);
  EVENT(8, NO_PORT, 0);
  EVENT(8, virq, 1);
  EVENT(8, ipi, 1);
  static const unsigned int statuses[] = {0, 1};
  EVENT(5, SELF, statuses[0]), print(" is %x\n", (unsigned long)words[2]);
  EVENT(5, SELF, unbound), print(" is %x of %x\n", (unsigned long)words[2], (unsigned long)words[4]);
  EVENT(5, SELF, bound), print(" is %x of %x\n", (unsigned long)words[2], (unsigned long)words[4]);
  EVENT(5, SELF, virq), print(" is %x of %x\n", (unsigned long)words[2], (unsigned long)words[4]);
  EVENT(5, SELF, ipi), print(" is %x\n", (unsigned long)words[2]);
  EVENT(5, DOM0, 1);
  EVENT(5, NOBODY, 1);
  EVENT(5, SELF, NO_PORT);
  EVENT(4, bound);
  EVENT(4, virq);
  EVENT(4, NO_PORT);
  EVENT(9, bound);
  EVENT(9, NO_PORT);
  EVENT(13, bound, 3);
  EVENT(12, QUAD(frame_of(other_words)));
  EVENT(3, bound);
  EVENT(3, bound);
  EVENT(3, offered);
  EVENT(3, unbound);
  EVENT(3, virq);
  EVENT(3, ipi);
  EVENT(3, NO_PORT);
}

/* All ports of the 2-level ABI, then the FIFO one's words. */
void ask_all_ports(void) {
  unsigned int last = 0, taken = 0;
  for (;;) {
    PUT(HALVES(SELF, SELF));
    if (xen_call(32, 6, (unsigned long)words, 1, 0)) break;
    last = words[1], taken++;
  }
  print("%x more ports, the last %x\n", (unsigned long)taken, (unsigned long)last);
  EVENT(6, HALVES(SELF, SELF));
  EVENT(0, SELF, last);
  EVENT(1, 2, 0);
  EVENT(7, 0);
  EVENT(14, SELF);
  EVENT(10, DOM0);
  EVENT(10, NOBODY);
  EVENT(14, DOM0);
  EVENT(14, NOBODY);
  EVENT(10, SELF);
  EVENT(11, QUAD(frame_of(moving_page)), 0, NO_VCPU);
  EVENT(11, QUAD(frame_of(moving_page)), 4032, 0);
  EVENT(11, QUAD(NO_FRAME), 0, 0);
  EVENT(11, QUAD(frame_of(moving_page)), 0, 0), print(" link bits %x\n", (unsigned long)(words[4] & 255));
  EVENT(11, QUAD(frame_of(moving_page)), 0, 0);
  EVENT(12, QUAD(NO_FRAME));
  int pages = 0;
  for (;;) {
    PUT(QUAD(frame_of(other_words)));
    if (xen_call(32, 12, (unsigned long)words, 1, 0)) break;
    pages++;
  }
  print("%x pages of words\n", (unsigned long)pages);
  EVENT(12, QUAD(frame_of(other_words)));
  EVENT(7, 0);
  unsigned int ipi = words[1];
  EVENT(13, ipi, 0);
  EVENT(13, ipi, 16);
  EVENT(13, ipi + 1, 0);
  EVENT(13, NO_PORT, 0);
  EVENT(4, ipi);
  EVENT(10, SELF);
}

static const char *const grant_names[] = {
  "GNTTABOP_map_grant_ref", "GNTTABOP_unmap_grant_ref", "GNTTABOP_setup_table", [5] = "GNTTABOP_copy", "GNTTABOP_query_size",
  [8] = "GNTTABOP_set_version", [10] = "GNTTABOP_get_version", "GNTTABOP_swap_grant_ref", "no grant_table_op"};
#define GRANT(command, ...) OP(grant_names[command], 20, command, __VA_ARGS__)
/* The element's status, a negative number of 16 bits. */
static void status(unsigned int word) { print(" status %x\n", (unsigned long)(word & 0xffff)); }

void ask_grants(void) {
  static const int lists[] = {0, 1, 5, 11}, singles[] = {2, 6};
  for (int i = 0; i < 4; i++) {
    const char *name = grant_names[lists[i]];
    CALL(name, 20, lists[i], words, 1u << 31, 0);
    CALL(name, 20, lists[i], BAD, 1, 0);
    CALL(name, 20, lists[i], words, 0, 0);
  }
  for (int i = 0; i < 2; i++) {
    PUT(SELF);
    CALL(grant_names[singles[i]], 20, singles[i], words, 2, 0);
    CALL(grant_names[singles[i]], 20, singles[i], BAD, 1, 0);
  }
  /* Nothing is granted. */
  GRANT(0, QUAD((unsigned long)moving_page), 2, 9, SELF), status(words[4] >> 16);
  GRANT(1, QUAD((unsigned long)moving_page), QUAD(0), 77), status(words[5]);
  GRANT(2, SELF, 1, 0, GAP LONG(other_words)), status(words[2]);
  GRANT(2, SELF, 65, 0, GAP LONG(other_words)), status(words[2]);
  GRANT(2, DOM0, 1, 0, GAP LONG(other_words)), status(words[2]);
  GRANT(2, NOBODY, 1, 0, GAP LONG(other_words)), status(words[2]);
  /* source, its domain and offset, destination likewise, length and flags. */
  unsigned long from = frame_of(moving_page), to = frame_of(other_words);
  moving_page[7] = 0x77;
  GRANT(5, LONG(from), HALVES(SELF, 7), GAP LONG(to), HALVES(SELF, 9), GAP HALVES(1, 0)), status(words[PICK_WIDTH(9, 5)]);
  print(" copied %x\n", (unsigned long)((unsigned char *)other_words)[9]);
  GRANT(5, LONG(from), HALVES(SELF, 4095), GAP LONG(to), HALVES(SELF, 0), GAP HALVES(2, 0)), status(words[PICK_WIDTH(9, 5)]);
  GRANT(5, LONG(9), HALVES(SELF, 0), GAP LONG(to), HALVES(SELF, 0), GAP HALVES(1, 1)), status(words[PICK_WIDTH(9, 5)]);
  GRANT(5, LONG(NO_FRAME), HALVES(SELF, 0), GAP LONG(to), HALVES(SELF, 0), GAP HALVES(1, 0)), status(words[PICK_WIDTH(9, 5)]);
  GRANT(5, LONG(from), HALVES(NOBODY, 0), GAP LONG(to), HALVES(SELF, 0), GAP HALVES(1, 0)), status(words[PICK_WIDTH(9, 5)]);
  GRANT(6, SELF), status(words[3]), print(" %x of %x\n", (unsigned long)words[1], (unsigned long)words[2]);
  GRANT(6, NOBODY), status(words[3]);
  about(grant_names[10], 20, 10);
  GRANT(11, 9, 10), status(words[2]);
  GRANT(11, 9, 1u << 20), status(words[2]);
  GRANT(8, 3), print(" is %x\n", (unsigned long)words[0]);
  BAD_OP(grant_names[8], 20, 8);
  GRANT(8, 2), print(" is %x\n", (unsigned long)words[0]);
  /* Version 1 has no transitive grants; of the reserved entries the last is free. */
  volatile unsigned short *reserved = (volatile unsigned short *)(grant_table() + 7 * 16);
  *reserved = 3;
  GRANT(8, 1), print(" is %x\n", (unsigned long)words[0]);
  *reserved = 0;
  GRANT(8, 1), print(" is %x\n", (unsigned long)words[0]);
  CALL(grant_names[12], 20, 13, words, 1, 0);
}

static const char *const hvm_names[] = {
  "HVMOP_set_param", "HVMOP_get_param", [9] = "HVMOP_pagetable_dying", "HVMOP_get_time", [15] = "HVMOP_get_mem_type",
  [23] = "HVMOP_set_evtchn_upcall_vector"};
#define HVM(command, ...) OP(hvm_names[command], 34, command, __VA_ARGS__)

void ask_hvm(void) {
  for (int command = 0; command < 24; command++)
    if (hvm_names[command]) BAD_OP(hvm_names[command], 34, command);
  for (unsigned int index = 0; index < 40; index++) {
    print("parameter %x: ", (unsigned long)index);
    HVM(1, SELF, index);
    /* Where the guest is called from stays as it is. */
    if (index == 0) continue;
    print("parameter %x: ", (unsigned long)index);
    HVM(0, SELF, index, QUAD(index == 37 ? 104ull << 32 : 0));
  }
  for (int command = 0; command < 2; command++) HVM(command, DOM0, 1), HVM(command, NOBODY, 1);
  HVM(0, SELF, 36, QUAD(5));
  HVM(9, SELF), HVM(9, DOM0), HVM(9, NOBODY);
  PUT(0);
  print("HVMOP_get_time %s\n", xen_call(34, 10, (unsigned long)words, 0, 0) == 0 && (words[0] | words[1]) ? "is" : "is not");
  HVM(15, SELF, 0, QUAD(frame_of(words))), print(" type %x\n", (unsigned long)(words[0] >> 16));
  HVM(15, SELF, 0, QUAD(NO_FRAME)), print(" type %x\n", (unsigned long)(words[0] >> 16));
  HVM(15, DOM0), HVM(15, NOBODY);
  HVM(23, 1, 0x80), HVM(23, 0, 15), HVM(23, NO_VCPU, 0x80);
  static const char trace[] = "HVMOP_xentrace", asked[] = "HVMOP_guest_request_vm_event", maps[] = "HVMOP_altp2m";
  OP(trace, 34, 11, HALVES(5, 28)), OP(trace, 34, 11, HALVES(5, 29)), OP(trace, 34, 11, HALVES(0x1000, 0)), BAD_OP(trace, 34, 11);
  CALL(asked, 34, 24, 0, 0, 0), CALL(asked, 34, 24, words, 0, 0), OP(maps, 34, 25, 1);
  CALL("HVMOP_flush_tlbs", 34, 5, 0, 0, 0), CALL("HVMOP_flush_tlbs", 34, 5, words, 0, 0);
  CALL("no hvm_op", 34, PICK_WIDTH(11 | 1ul << 32, 98), words, 0, 0);
  CALL("no hvm_op", 34, 99, words, 0, 0);
}

void ask_refused(void) {
  static const struct { const char *name; int number; unsigned int version; } controls[] = {
    {"platform_op", 7, 0x03000001}, {"sysctl", 35, 0x15}};
  for (int i = 0; i < 2; i++) {
    PUT(1, controls[i].version);
    CALL(controls[i].name, controls[i].number, words, 0, 0, 0);
    PUT(1, 7);
    CALL(controls[i].name, controls[i].number, words, 0, 0, 0);
    CALL(controls[i].name, controls[i].number, BAD, 0, 0, 0);
  }
  PUT(2, 0x15, DOM0), CALL("domctl", 36, words, 0, 0, 0);
  PUT(2, 0x15, NOBODY), CALL("domctl", 36, words, 0, 0, 0);
  PUT(1, 0x15, NOBODY), CALL("domctl", 36, words, 0, 0, 0);
  PUT(2, 7, DOM0), CALL("domctl", 36, words, 0, 0, 0);
  CALL("domctl", 36, BAD, 0, 0, 0);
  static const char cont[] = "paging_domctl_cont";
  PUT(10, 0x15, DOM0), CALL(cont, 49, words, 0, 0, 0);
  PUT(10, 0x15, 1), CALL(cont, 49, words, 0, 0, 0);
  PUT(10, 0x15, NOBODY), CALL(cont, 49, words, 0, 0, 0);
  PUT(10, 7, DOM0), CALL(cont, 49, words, 0, 0, 0);
  PUT(2, 0x15, DOM0), CALL(cont, 49, words, 0, 0, 0);
  CALL(cont, 49, BAD, 0, 0, 0);
  static const struct { const char *name; int number; } others[] = {
    {"xsm_op", 27}, {"argo_op", 39}, {"xenpmu_op", 40}, {"hypfs_op", 42}};
  for (int i = 0; i < 4; i++) CALL(others[i].name, others[i].number, 0, words, 0, 0);
  CALL("dm_op", 41, SELF, 1, words, 0);
  CALL("dm_op", 41, 1, 1, words, 0);
  CALL("dm_op", 41, DOM0, 2, words, 0);
  CALL("dm_op", 41, NOBODY, 1, words, 0);
  CALL("dm_op", 41, SELF, 0, words, 0);
  CALL("dm_op", 41, SELF, 3, words, 0);
  CALL("dm_op", 41, SELF, 1, BAD, 0);
  CALL("console_io", 18, 0, 0, words, 0);
  CALL("console_io", 18, 0, 1, BAD, 0);
  CALL("console_io", 18, 1, 1, words, 0);
  CALL("console_io", 18, 2, 1, words, 0);
  static const unsigned long types[] = {0, 1, 2, 3, 4, 5, 6, 32, 33};
  /* Off, which most of them are; on and off again only what changes nothing here. */
  for (int i = 0; i < 9; i++) print("type %x: ", types[i]), CALL("vm_assist", 21, types[i] == 5 ? 0 : 1, types[i], 0, 0);
  CALL("vm_assist", 21, 1, 5, 0, 0);
  CALL("vm_assist", 21, 2, 5, 0, 0);
}

void ask_multicalls(void) {
  static unsigned long list[3][8];
  for (int i = 0; i < 3; i++)
    for (int k = 0; k < 8; k++) list[i][k] = 0;
  list[0][0] = 17, list[1][0] = 13, list[2][0] = 999;
  CALL("multicall", 13, list, 3, 0, 0);
  for (int i = 0; i < 3; i++) told(" of it", list[i][1]);
  CALL("multicall", 13, list, 0, 0, 0);
  CALL("multicall", 13, BAD, 1, 0, 0);
  CALL("multicall", 13, XENS, 1, 0, 0);
}
