/*
 * A PV kernel of 32 bits that makes every hypercall that Xen declares for it, with good input and each kind of bad one. Those
 * that others have, too, are in lib/xen-calls.c, with the structures of either width.
 */
#include "narrow.h"
#include <stdarg.h>

struct start_info *start_info;
u8 shared_page[PAGE] __attribute__((aligned(4096)));
volatile u32 events, mark;
static char text[512];
static u32 used;

long xen_call(unsigned long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
  return hypercall(number, a, b, c, d, 0);
}

unsigned long frame_of(const volatile void *address) {
  return ((const u32 *)start_info->mfn_list)[((u32)address - VIRT_BASE) / PAGE];
}

static struct toolstack_ring ring_of(u32 frame, u32 port) {
  static u8 pages[2][PAGE] __attribute__((aligned(4096)));
  static int used_pages;
  map(pages[used_pages], (u64)frame * PAGE | 3);
  return (struct toolstack_ring){pages[used_pages++], port};
}
struct toolstack_ring store_ring(void) { return ring_of(start_info->store_mfn, start_info->store_evtchn); }
struct toolstack_ring console_ring(void) { return ring_of(start_info->console_mfn, start_info->console_evtchn); }

/* A line at a time, on Xen's console. */
static void character(char c) {
  text[used++] = c;
  if (c != '\n' && used < sizeof text) return;
  hypercall(18, 0, used, (u32)text, 0, 0);
  used = 0;
}

void print(const char *format, ...) {
  va_list list;
  va_start(list, format);
  for (; *format; format++) {
    if (*format != '%') {
      character(*format);
      continue;
    }
    if (*++format == 's') {
      for (const char *s = va_arg(list, const char *); *s; s++) character(*s);
      continue;
    }
    char digits[8];
    int n = 0;
    u32 rest = va_arg(list, u32);
    do digits[n++] = "0123456789abcdef"[rest & 15]; while (rest >>= 4);
    while (n) character(digits[--n]);
  }
  va_end(list);
}

long map(void *address, u64 entry) { return hypercall(14, (u32)address, (u32)entry, entry >> 32, 2, 0); }

static u8 grant_page[PAGE] __attribute__((aligned(4096)));
u8 *grant_table(void) {
  OP("GNTTABOP_setup_table", 20, 2, SELF, 1, 0, LONG(other_words));
  map(grant_page, (u64)other_words[0] * PAGE | 3);
  return grant_page;
}

void main(void) {
  leaves();
  ask_version();
  ask_memory();
  memory();
  tables();
  entry_points();
  registers();
  devices();
  ask_vcpus();
  vcpus();
  ask_scheduler();
  waiting();
  CALL("sched_op_compat", 6, 0, 0, 0, 0);
  CALL("sched_op_compat", 6, 9, 0, 0, 0);
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
