/*
 * A PV kernel that plays seeded sequences of hypercalls and writes what it was answered, so that two hosts can be
 * compared. Nothing that is written depends on where in the machine its memory is.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long s64;

#define PAGE 4096ul
#define VIRT_BASE 0xffffffff80000000ul
#define M2P ((const u64 *)0xffff800000000000ul)

enum { SET_TRAP_TABLE, MMU_UPDATE, SET_GDT, STACK_SWITCH, SET_CALLBACKS, FPU_TASKSWITCH, SET_DEBUGREG = 8, GET_DEBUGREG,
       UPDATE_DESCRIPTOR, MEMORY_OP = 12, MULTICALL, UPDATE_VA_MAPPING, SET_TIMER_OP, XEN_VERSION = 17, CONSOLE_IO,
       GRANT_TABLE_OP = 20, VM_ASSIST, IRET = 23, VCPU_OP, SET_SEGMENT_BASE = 25, MMUEXT_OP, SCHED_OP = 29, CALLBACK_OP,
       EVENT_CHANNEL_OP = 32, PHYSDEV_OP };
#define DOMID_SELF 0x7ff0

struct start_info {
  char magic[32];
  u64 nr_pages, shared_info;
  u32 flags;
  u64 store_mfn;
  u32 store_evtchn;
  u64 console_mfn;
  u32 console_evtchn;
  u64 pt_base, nr_pt_frames, mfn_list, mod_start, mod_len;
  char cmd_line[1024];
};
extern struct start_info *start_info;

static inline s64 hypercall(u64 number, u64 a, u64 b, u64 c, u64 d, u64 e) {
  register u64 r10 asm("r10") = d;
  register u64 r8 asm("r8") = e;
  asm volatile("syscall" : "+a"(number), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8) : : "rcx", "r11", "r9", "memory");
  return number;
}
#define H1(n, a) hypercall(n, (u64)(a), 0, 0, 0, 0)
#define H2(n, a, b) hypercall(n, (u64)(a), (u64)(b), 0, 0, 0)
#define H3(n, a, b, c) hypercall(n, (u64)(a), (u64)(b), (u64)(c), 0, 0)
#define H4(n, a, b, c, d) hypercall(n, (u64)(a), (u64)(b), (u64)(c), (u64)(d), 0)

/* Console: %s, %x, %d (signed). */
void print(const char *format, ...);
void stop(void) __attribute__((noreturn));
void console_init(void);

/* Chance. */
extern u32 chance;
u32 below(u32 limit);
#define PICK(first, ...) \
  ({ const __typeof__(first) choices_[] = {first, ##__VA_ARGS__}; choices_[below(sizeof choices_ / sizeof *choices_)]; })

/* What happened: everything that is noted goes into the seed's digest, and is written if the seed is to be shown. */
void note(const char *what, int count, const s64 *values);
#define NOTE(what, ...) note(what, sizeof((s64[]){__VA_ARGS__}) / sizeof(s64), (s64[]){__VA_ARGS__})

/* Frames for the test: mapped read-only at `pool`, so that each can be anything; their machine frames. */
#define FRAMES 24
#define SCRATCH 8
extern u8 pool[FRAMES][PAGE], scratch[SCRATCH][PAGE];
extern u64 frames[FRAMES];
u64 mfn_of(const void *address);
u64 pfn_of(const void *address);
s64 map(void *address, u64 entry);
u64 *table_entry(const void *address);
/* A frame is about to be given away; another one in its place. */
int frame_is_free(int frame);
void lost_frame(int frame, const char *what);
/* In this seed. */
int frames_were_given(void);
/* An entry with machine frames replaced by numbers of the test's. */
u64 normal(u64 entry);
u64 random_entry(void);

/* Several vCPUs: how many there are, the one that plays now, where each has its vcpu_info. */
#define VCPUS 8
struct vcpu_info { u8 pending, mask; u64 selector, cr2, pad; u8 time[32]; };
extern u32 vcpus, playing;
extern volatile struct vcpu_info *infos[VCPUS];

/* Exceptions: code that may raise one is run by `attempt`; what came is in `trap`. */
struct trap {
  u64 vector, rcx, r11, error, rip, cs, rflags, rsp, ss, cr2, mask, at;
  /* DS, ES, FS and GS of a failsafe frame. */
  u64 selectors[4];
};
extern struct trap trap;
/* 0, or 1 after an exception. The function must not depend on callee-saved registers afterwards. */
int attempt(void (*function)(u64, u64), u64 a, u64 b);
struct trap_info { u8 vector, flags; u16 cs; u64 address; };
extern struct trap_info trap_table[257];
void traps_init(void);
/* Notes the exception that came. */
void note_trap(const char *what, void (*function)(u64, u64));

void mmu_init(void);
void mmu_begin(void);
void mmu_step(void);
void mmu_end(void);
void memory_step(void);
void refused_step(void);
void cpu_step(void);
void cpu_end(void);
/* Events: whether one is pending, letting one come, letting none come. */
int is_pending(u32 port);
void raise_port(u32 port);
void quiet(void);
/* One of those that are played with; what shows of it. */
u32 any_port(void);
void note_event(u32 port);
void clear_port(u32 port);
void event_init(u32 fifo);
void event_step(void);
void event_end(void);
extern u32 own_domid;
/* Some handle still stands for it: another frame in its place would be the grant's. */
int is_granted(u64 frame);
void grant_init(void);
void grant_begin(void);
void grant_step(void);
void grant_end(void);
void set_user_root(u64 root);
void user_init(void);
void returns_init(void);
void returns_step(void);
void enter_steps(void);
void returns_end(void);
void user_step(void);
/* In every/, which is built with EVERY. */
void user_all(void);
void every(void);
void vcpu_init(void);
void vcpu_step(void);
extern u8 shared_page[];
/* A step of vcpu_op that any vCPU can take about any other. */
extern u32 timer_port[VCPUS], other_port[VCPUS];
/* Before ports are counted, and after all else is there. */
void smp_ports(void);
void smp_init(void);
void smp_step(void);
void smp_end(void);
