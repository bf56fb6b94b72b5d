/* Console, chance, and the sequences: one for each seed. */
#include "xen.h"
#include <stdarg.h>

struct start_info *start_info;
u32 chance;
static u64 digest;
static u32 seed, show;
/* What is played, by number. */
#define VCPU_SET 1
#define RETURNS_SET 2
#define ENTER_SET 3
u32 vcpus = 1, playing;
volatile struct vcpu_info *infos[VCPUS];

/* The console: dom0 has Xen's, others a ring (xen/io/console.h). */
struct ring { char in[1024], out[2048]; u32 in_cons, in_prod, out_cons, out_prod; };
static volatile struct ring *ring;
u8 console_page[PAGE] __attribute__((aligned(4096)));

static u32 option(const char *name, u32 otherwise);

void console_init(void) {
  if (start_info->flags & 1 || option("io=", 0)) return;
  u64 entry = start_info->console_mfn << 12 | 3;
  H3(UPDATE_VA_MAPPING, console_page, entry, 2);
  ring = (void *)console_page;
}

static void put(const char *text, u32 length) {
  if (!ring) {
    H3(CONSOLE_IO, 0, length, text);
    return;
  }
  u32 port = start_info->console_evtchn;
  for (u32 i = 0; i < length; i++) {
    while (ring->out_prod - ring->out_cons == sizeof ring->out) {
      H2(EVENT_CHANNEL_OP, 4, &port);
      H2(SCHED_OP, 0, 0);
    }
    ring->out[ring->out_prod & (sizeof ring->out - 1)] = text[i];
    asm volatile("" : : : "memory");
    ring->out_prod++;
  }
  H2(EVENT_CHANNEL_OP, 4, &port);
}

/* Text waits for the end of a seed: to write it takes time, which shows. */
static char text[1 << 20];
static u32 used;

static void flush(void) {
  for (u32 at = 0; at < used; at += 512) put(text + at, used - at < 512 ? used - at : 512);
  used = 0;
}

static void character(char c) {
  text[used++] = c;
#ifdef EVERY
  /* Its last lines come when there is no console any more. */
  if (c == '\n') flush();
#endif
  if (used == sizeof text) flush();
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
    s64 value = va_arg(list, s64);
    char digits[24];
    int n = 0;
    u64 rest = *format == 'd' && value < 0 ? -value : value;
    u32 base = *format == 'd' ? 10 : 16;
    do digits[n++] = "0123456789abcdef"[rest % base]; while (rest /= base);
    if (*format == 'd' && value < 0) character('-');
    while (n) character(digits[--n]);
  }
  va_end(list);
}

void stop(void) {
  u32 reason = 0;
  flush();
  for (;;) H2(SCHED_OP, 2, &reason);
}

u32 below(u32 limit) {
  chance = chance * 1664525 + 1013904223;
  return (u64)chance * limit >> 32;
}

static void mix(u64 value) {
  for (int i = 0; i < 8; i++) digest = (digest ^ (value >> 8 * i & 255)) * 0x100000001b3;
}

void note(const char *what, int count, const s64 *values) {
  for (int i = 0; i < count; i++) mix(values[i]);
  if (!show || seed < show) return;
  print("  %s", what);
  for (int i = 0; i < count; i++)
    if (values[i] < 0 && values[i] > -200) print(" %d", values[i]);
    else print(" %x", values[i]);
  print("\n");
}

/* A number behind a word of the command line. */
static u32 option(const char *name, u32 otherwise) {
  for (const char *at = start_info->cmd_line; *at; at++) {
    const char *a = at, *b = name;
    while (*b && *a == *b) a++, b++;
    if (*b) continue;
    u32 value = 0;
    while (*a >= '0' && *a <= '9') value = value * 10 + *a++ - '0';
    return value;
  }
  return otherwise;
}

void main(void) {
  mmu_init();
  for (u32 vcpu = 0; vcpu < VCPUS; vcpu++) infos[vcpu] = (void *)(shared_page + 64 * vcpu);
  u32 set = option("set=", 0);
  console_init();
  traps_init();
  if (set == VCPU_SET) smp_ports();
  event_init(option("fifo=", 0));
  user_init();
#ifdef EVERY
  every();
#endif
  vcpu_init();
  grant_init();
  if (set == VCPU_SET) smp_init();
  if (set == RETURNS_SET || set == ENTER_SET) returns_init();
  u32 first = option("first=", 1), seeds = option("seeds=", 200), calls = option("calls=", 500);
  show = option("show=", 0);
  for (seed = first; seed < first + seeds; seed++) {
    chance = seed * 2654435761u;
    digest = 0xcbf29ce484222325;
    mmu_begin();
    grant_begin();
    for (u32 i = 0; i < calls; i++)
      if (set == VCPU_SET) smp_step();
      else if (set == RETURNS_SET) returns_step();
      else if (set == ENTER_SET) switch (below(5)) {
        case 0: case 1: memory_step(); break;
        case 2: refused_step(); break;
        default: enter_steps();
      }
      else switch (below(16)) {
        case 0: cpu_step(); break;
        case 1: case 2: event_step(); break;
        case 3: case 4: case 5: grant_step(); break;
        case 6: case 7: case 8: user_step(); break;
        case 9: vcpu_step(); break;
        default: mmu_step();
      }
    if (set == VCPU_SET) smp_end();
    if (set == RETURNS_SET || set == ENTER_SET) returns_end();
    mmu_end();
    grant_end();
    cpu_end();
    event_end();
    print("seed %d: %x\n", (s64)seed, digest);
    flush();
  }
  print("end\n");
  stop();
}
