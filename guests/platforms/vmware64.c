/*
 * VMware's interface from inside, with every feature: the backdoor's ports in ring 0 and 3, open whatever IOPL and the TSS say, its
 * hypercalls, pseudo performance counters (open-vm-tools, lib/include/backdoor_def.h).
 */
#include "guest.h"

#define MAGIC 0x564d5868
#define PORT 0x5658
#define HIGH_PORT 0x5659

CODE(in_32, "in %dx, %eax");
CODE(in_16, "in %dx, %ax");
CODE(in_8, "in %dx, %al");
CODE(out_32, "out %eax, %dx");
CODE(rep_outsb, "rep outsb");
CODE(rep_insb, "rep insb");
CODE(vmcall_code, "vmcall");
CODE(vmmcall_code, "vmmcall");
CODE32(in_code32, "in %dx, %eax");
CODE32(vmcall_32, "vmcall");
CODE(rdpmc_code, "rdpmc\nxor %eax, %eax\nxor %edx, %edx");
CODE(cpuid_code, "cpuid");

static void start(const void *code, int ring) {
  if (ring) user(code);
  else kernel(code);
  in.ax = MAGIC;
  in.dx = PORT;
}

static void commands(void) {
  static const struct {
    const char *name;
    u32 command;
  } list[] = {{"GETMHZ", 1}, {"GETVERSION", 10}, {"GETHWVERSION", 17}, {"GETMEMSIZE", 20}, {"GETHZ", 45}, {"GET_VCPU_INFO", 68}, {"STEALCLOCK", 91}, {"unknown", 0xfff}};
  for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
    for (int ring = 0; ring <= 3; ring += 3) {
      start(in_32, ring), in.cx = list[i].command, in.di = 1, go("%s ring %d", list[i].name, (word)ring);
      start(vmcall_code, ring), in.cx = list[i].command, in.di = 1, in.dx = 0, go("%s ring %d by VMCALL", list[i].name, (word)ring);
    }
}

static void ports(void) {
  for (int ring = 0; ring <= 3; ring += 3) {
    start(in_32, ring), in.cx = 10, in.bx = ~0ul, go("upper halves ring %d", (word)ring);
    start(in_16, ring), in.cx = 10, go("IN AX ring %d", (word)ring);
    start(in_8, ring), in.cx = 10, go("IN AL ring %d", (word)ring);
    start(out_32, ring), in.cx = 10, go("OUT ring %d", (word)ring);
    start(in_32, ring), in.cx = 10, in.ax = 1, go("wrong magic ring %d", (word)ring);
    start(in_32, ring), in.cx = 10, in.dx = PORT - 1, go("port below ring %d", (word)ring);
    start(in_32, ring), in.cx = 10, in.dx = HIGH_PORT + 1, go("port above ring %d", (word)ring);
    start(rep_outsb, ring), in.dx = HIGH_PORT, in.bx = 0x10000, in.cx = 4, in.si = (word)user_stack - 64, go("REP OUTSB without a channel ring %d", (word)ring);
    start(rep_insb, ring), in.dx = HIGH_PORT, in.bx = 0x10000, in.cx = 4, in.di = (word)user_stack - 64, go("REP INSB without a channel ring %d", (word)ring);
    start(vmmcall_code, ring), in.cx = 10, go("VMMCALL ring %d", (word)ring);
    start(vmcall_code, ring), in.cx = 10, in.ax = 1, go("VMCALL with wrong magic ring %d", (word)ring);
  }
  start(in_code32, 3), in.cs = USER_CS32, in.cx = 10, go("IN in 32 bits, ring 3");
  start(vmcall_32, 3), in.cs = USER_CS32, in.cx = 10, in.dx = 0, go("VMCALL in 32 bits, ring 3");
  static const u32 counters[] = {0, 0xffff, 0x10000, 0x10001, 0x10002, 0x10003};
  for (unsigned i = 0; i < sizeof counters / sizeof *counters; i++)
    for (int ring = 0; ring <= 3; ring += 3)
      start(rdpmc_code, ring), in.cx = counters[i], in.ax = in.dx = 0, go("RDPMC %x ring %d", (word)counters[i], (word)ring);
}

/* Messages: registers of one backdoor call. */
static struct { u32 ax, bx, cx, dx, si, di; } r;
static u32 id, high, low;

static void message(u32 type, u32 bx) {
  r.ax = MAGIC;
  asm volatile("inl (%%dx), %%eax"
               : "+a"(r.ax), "=b"(r.bx), "=c"(r.cx), "=d"(r.dx), "=S"(r.si), "=D"(r.di)
               : "b"(bx), "c"(type << 16 | 30), "d"(id << 16 | PORT), "S"(high), "D"(low)
               : "memory");
}

static u32 move(int out, int by_call, word address, word count) {
  word ax = MAGIC, bx = 0x10000, cx = count, dx = id << 16 | (by_call ? 1 | out << 1 : HIGH_PORT);
  word si = out ? address : high, di = out ? low : address, bp = out ? high : low;
  register word r8 asm("r8") = bp;
#define MOVE(code)                                                                                \
  asm volatile("push %%rbp\nmov %%r8, %%rbp\n" code "\npop %%rbp"                                 \
               : "+a"(ax), "+b"(bx), "+c"(cx), "+d"(dx), "+S"(si), "+D"(di)                       \
               : "r"(r8)                                                                          \
               : "memory")
  if (by_call) MOVE("vmcall");
  else if (out) MOVE("rep outsb");
  else MOVE("rep insb");
  return bx >> 16;
}

/* Four bytes at a time, and each type of message at the wrong moment and for a channel that there is not. */
static void low_bandwidth(void) {
  static const char request[] = "info-set guestinfo.a bc";
  message(0, 0x12345678), print("\nunknown protocol: status %x", (word)(r.cx >> 16));
  message(0, 0x49435052u), id = r.dx >> 16, high = low = 0;
  print("\nlow bandwidth: channel %d status %x", (word)id, (word)(r.cx >> 16));
  message(2, 0), print(" payload without a size %x", (word)(r.cx >> 16));
  message(3, 0), print(" no answer %x", (word)(r.cx >> 16));
  message(4, 1), print(" its payload %x", (word)(r.cx >> 16));
  message(5, 1), print(" its end %x", (word)(r.cx >> 16));
  message(1, 0x10001), print(" too long %x", (word)(r.cx >> 16));
  message(1, sizeof request - 1), print(" size %x", (word)(r.cx >> 16));
  for (unsigned i = 0; i < sizeof request - 1; i += 4) message(2, *(const u32 *)(request + i)), print(" %x", (word)(r.cx >> 16));
  message(2, 0), print(" one more %x", (word)(r.cx >> 16));
  message(3, 0), print(" answer %x of %x", (word)(r.cx >> 16), (word)r.bx);
  message(4, 1), print(" payload %x %x as %x", (word)(r.cx >> 16), (word)r.bx, (word)(r.dx >> 16));
  message(4, 1), print(" one more %x", (word)(r.cx >> 16));
  message(5, 1), print(" end %x", (word)(r.cx >> 16));
  message(6, 0), print(" closed %x", (word)(r.cx >> 16));
  id = 9;
  print("\nno such channel:");
  for (int type = 1; type <= 6; type++) message(type, 1), print(" %x", (word)(r.cx >> 16));
}

/* Time of day: seconds and microseconds, the lag that is allowed; with the lag that there is. */
static void times(void) {
  static const u32 list[] = {23, 46, 55};
  u64 seconds[3];
  for (int i = 0; i < 3; i++) {
    start(in_32, 0), in.cx = list[i], in.bx = in.di = in.si = ~0ul, run(&in);
    seconds[i] = i == 0 ? (u32)out.ax : (u64)(u32)out.si << 32 | (u32)out.dx;
    print("\ntime by %d: ax %s", (word)list[i], (u32)out.ax == MAGIC ? "stays" : "set");
    print(" microseconds %s lag allowed %x", (u32)out.bx < 1000000 ? "set" : "wrong", out.cx);
    if (i == 0) print(" zone %x", out.dx);
    print(" di %x", out.di);
    print(" %s", seconds[i] > 1000000000 && seconds[i] - seconds[0] < 60 ? "in order" : "another time");
  }
}

static void messages(void) {
  static const char request[] = "info-get guestinfo.none";
  /* Over the border of two pages that lie apart. */
  map(10, SPARE, P | W | U), map(11, SPARE + 0x5000, P | W | U);
  char *text = (char *)PAGE(11) - 8;
  for (int by_call = 0; by_call <= 1; by_call++) {
    message(0, 0x49435052u + 0x80000000u), id = r.dx >> 16, high = r.si, low = r.di;
    print("\nchannel %d status %x", (word)id, (word)(r.cx >> 16));
    for (unsigned i = 0; i < sizeof request; i++) text[i] = request[i];
    message(1, sizeof request - 1), print(" size %x", (word)(r.cx >> 16));
    print(" out %x", (word)move(1, by_call, (word)text, sizeof request - 1));
    message(3, 0), print(" answer %x of %x", (word)(r.cx >> 16), (word)r.bx);
    for (int i = 0; i < 32; i++) text[i] = 0;
    print(" in %x", (word)move(0, by_call, (word)text, r.bx));
    print(" %s", text);
    message(6, 0), print(" closed %x", (word)(r.cx >> 16));
    message(6, 0), print(" again %x", (word)(r.cx >> 16));
  }
  /* A fault in the middle: #PF, nothing lost. */
  message(0, 0x49435052), id = r.dx >> 16, high = low = 0;
  message(1, 16);
  map(11, 0, 0), invlpg(PAGE(11));
  start(vmcall_code, 0), in.bx = 0x10000, in.cx = 16, in.dx = id << 16 | 3, in.si = PAGE(11) - 8, go("VMCALL out, page fault");
  map(11, SPARE + 0x5000, P | W | U);
  start(vmcall_code, 0), in.bx = 0x10000, in.cx = 16, in.dx = id << 16 | 3, in.si = PAGE(11) - 8, go("VMCALL out again");
  map(11, SPARE + 0x5000, P), invlpg(PAGE(11));
  start(vmcall_code, 3), in.bx = 0x10000, in.cx = 16, in.dx = id << 16 | 1, in.di = PAGE(11) - 8, go("VMCALL in, page fault, ring 3");
  map(11, SPARE + 0x5000, P | W | U), invlpg(PAGE(11));
  start(vmcall_code, 3), in.bx = 0x10000, in.cx = 16, in.dx = id << 16 | 1, in.di = PAGE(11) - 8, go("VMCALL in again, ring 3");
}

static void steal_clock(void) {
  static const word places[] = {SPARE, SPARE + 32, 0xfffffffc0, 0xf00000000};
  for (unsigned i = 0; i < sizeof places / sizeof *places; i++)
    start(in_32, 0), in.cx = 91, in.si = places[i] >> 32, in.di = (u32)places[i], go("STEALCLOCK %x", places[i]);
}

int main(void) {
  kernel(cpuid_code), in.ax = 0x40000000, go("CPUID 40000000");
  kernel(cpuid_code), in.ax = 0x40000010, go("CPUID 40000010");
  commands();
  ports();
  times();
  messages();
  low_bandwidth();
  steal_clock();
  return 0;
}
