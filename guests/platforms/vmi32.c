/* VMI's ROM as a kernel finds it, and its calls, good and bad. */
#include "guest.h"

#define ROM 0xc8000
#define PAGE 0x600000
#define CALLS 74
enum { NONE, CALL, JUMP, NOP };

/* A call as kernels make them: five bytes that push their end. %ebx is the address of the code; %esi and %edi are its
 * arguments on the stack. */
CODE(call_code, "push %edi\npush %esi\ncall *%ebx\nadd $8, %esp");
CODE(return_code, "nop\n.globl return_site\nreturn_site: .byte 0xe8\n.globl return_target\nreturn_target: .long 0");
CODE(landing_code, "nop");
CODE(vmcall_code, "vmcall");
extern u8 return_site[], return_target[];

static word addresses[CALLS];
static u8 types[CALLS + 1];

static word query(word number, word *address) {
  word type;
  asm volatile("call *%3" : "=a"(*address), "=d"(type) : "a"(number), "r"(ROM + 0x88) : "ecx", "memory", "cc");
  return type & 0xff;
}

/* `in` for a call by number. */
static void vmi(int number, word ax, word dx, word cx) {
  kernel(call_code), in.bx = addresses[number], in.ax = ax, in.dx = dx, in.cx = cx;
}

static void header(void) {
  u8 *rom = (u8 *)ROM, sum = 0;
  for (int i = 0; i < rom[2] * 512; i++) sum += rom[i];
  print("ROM %x %x API %d sum %d license %s", (word) * (u16 *)rom, *(word *)(rom + 8), rom[13], sum,
        rom + *(u16 *)(rom + 0x16));
  print("\n");
  *(volatile u8 *)rom = 0;
  print("store lost %d\n", *(volatile u8 *)rom == 0x55);
  print("init %x\n", ({ word a; asm volatile("call *%1" : "=a"(a) : "r"(ROM + 0x80) : "ecx", "edx", "memory"); a; }));
  for (int i = 0; i < CALLS; i++) types[i] = query(i, &addresses[i]);
  word none;
  print("types");
  for (int i = 0; i < CALLS; i++) print(i % 10 ? "%d" : " %d", types[i]);
  print(" past %d %d\n", query(CALLS, &none), query(0xffffffff, &none));
}

static void processor(void) {
  vmi(29, 0x11, 0x22, 0x33), go("EnableInterrupts");
  vmi(30, 0x11, 0x22, 0x33), in.flags |= FLAG_IF, go("DisableInterrupts");
  vmi(31, 0, 0, 0), go("GetInterruptMask");
  vmi(31, 0, 0, 0), in.flags |= FLAG_IF, go("GetInterruptMask, on");
  vmi(32, 0xfdff, 0x22, 0x33), in.flags |= FLAG_IF, go("SetInterruptMask off");
  vmi(32, 0x200, 0x22, 0x33), go("SetInterruptMask on");
  vmi(19, 0, 0, 0), go("GetCR0");
  vmi(24, 0, 0x1234, 0), go("SetDR 0");
  vmi(25, 0, 0, 0), go("GetDR 0");
  vmi(24, 3, 0x4321, 0), go("SetDR 3");
  vmi(25, 3, 0, 0), go("GetDR 3");
  vmi(25, 6, 0, 0), go("GetDR 6");
  vmi(25, 7, 0, 0), go("GetDR 7");
  vmi(24, 3, 0, 0), go("SetDR 3");
  vmi(10, 0xffffffff, 0, 0), go("GetTR");
  vmi(8, 0xffffffff, 0, 0), go("GetLDT");
  vmi(6, TSS_SELECTOR, 0, 0), go("SetTR, busy");
  vmi(61, 0x3000, 0, 0), go("SetIOPLMask 3");
  vmi(61, 0, 0, 0), in.flags |= IOPL(3), go("SetIOPLMask 0");
  word esp0 = tss[1], ss0 = tss[2];
  vmi(14, KERNEL_DS, 0x12345678, 0x33), go("UpdateKernelStack");
  print(" esp0 %x ss0 %x", tss[1], tss[2]);
  tss[1] = esp0, tss[2] = ss0;
  u64 *table = (u64 *)PAGE;
  table[2] = 0;
  vmi(11, PAGE, 2, 0x11112222), in.si = 0x33334444, go("WriteGDTEntry");
  print(" %x %x", (word)table[2], (word)(table[2] >> 32));
}

static void returns(void) {
  /* The kernel's call site is `return_site`; a good frame leads to landing_code, a bad one faults at the site. */
  static const struct { const char *name; u16 cs, ss; } frames[] = {
      {"IRET to ring 3", USER_CS32, USER_DS}, {"IRET to ring 3 again", USER_CS32, USER_DS},
      {"IRET to ring 0", KERNEL_CS, 0},       {"IRET to ring 0 again", KERNEL_CS, 0},
      {"IRET, null CS", 0, 0},                {"IRET, data as CS", KERNEL_DS, 0},
      {"IRET, null SS", USER_CS32, 0},        {"IRET, LDT", USER_CS32 | 4, USER_DS},
      {"IRET, good again", USER_CS32, USER_DS},
  };
  *(word *)return_target = addresses[33] - (word)(return_target + 4);
  for (unsigned i = 0; i < sizeof frames / sizeof *frames; i++) {
    kernel(return_code);
    word *stack = (word *)(kernel_stack - 64);
    stack[0] = (word)landing_code, stack[1] = frames[i].cs, stack[2] = 2;
    stack[3] = (word)user_stack - 32, stack[4] = frames[i].ss;
    in.sp = (word)stack;
    go("%s", frames[i].name);
    print(" %s", out.ip == (word)return_site ? "at the call" : out.ip == (word)landing_code + 2 ? "landed" : "elsewhere");
  }
}

static void tables(void) {
  u32 *page = (u32 *)PAGE;
  page[0] = page[1] = 0xffffffff;
  vmi(38, 0x1001, PAGE, 1), go("SetPxE");
  print(" %x", page[0]);
  vmi(39, 0x2001, 0x80000000, PAGE), in.si = 1, go("SetPxELong");
  print(" %x %x", page[0], page[1]);
  vmi(44, 0x600, 0x51, 0), go("AllocatePage");
  vmi(44, 0x600, 0x53, 0), go("AllocatePage, two levels");
  vmi(44, 0xfffff, 0x51, 0), go("AllocatePage, no page");
  vmi(45, 0x600, 0x51, 0), go("ReleasePage");
  vmi(45, 0x600, 0x51, 0), go("ReleasePage again");
  vmi(42, 0x77, 0, 0), go("MachineToPhysical");
  vmi(43, 0x77, 0, 0), go("PhysicalToMachine");
  vmi(46, PAGE, 0, 0), go("InvalPage");
  vmi(47, 1, 0, 0), in.di = 0, go("FlushTLB");
  vmi(47, 3, 0, 0), go("FlushTLB, global too");
}

static void time(void) {
  vmi(66, 0, 0, 0), go("GetCycleFrequency");
  vmi(67, 3, 0, 0), go("GetCycleCounter 3");
  vmi(67, 0, 0, 0), run(&in);
  word before = out.ax;
  vmi(67, 0, 0, 0), run(&in);
  print("\nGetCycleCounter grows %d", out.ax > before);
  vmi(69, 0, 0, 0), go("CancelAlarm");
  vmi(68, 0, 0xffffffff, 0xff), go("SetAlarm");
  vmi(69, 0, 0, 0), go("CancelAlarm");
  vmi(68, 2, 0, 0), go("SetAlarm 2");
  vmi(69, 2, 0, 0), go("CancelAlarm 2");
  vmi(71, 9, 0, 0), go("WallclockUpdated");
  vmi(70, 0, 0, 0), run(&in);
  print("\nGetWallclockTime %x", out.dx >> 24);
  vmi(64, 0x30, 0, 0), go("APICRead version");
  vmi(63, 0xfee00080, 0x20, 0), go("APICWrite TPR");
  vmi(64, 0xfee00080, 0, 0), go("APICRead TPR");
}

struct state {
  u32 cr0, cr2, cr3, cr4;
  u64 efer;
  u32 ip, flags, ax, bx, cx, dx, sp, bp, si, di;
  u16 cs, ss, ds, es, fs, gs, ldtr, gdtr_limit;
  u32 gdtr_base, idtr_base;
  u16 idtr_limit;
};

/* The second processor: it has no TSS yet when kernels set the stack first. */
asm(".globl ap_start\nap_start: push %edi\npush %esi\ncall *%ebx\nmov %esp, (%ebp)\nincl 4(%ebp)\n1: cli\nhlt\njmp 1b");
extern u8 ap_start[];

static void start(void) {
  volatile word results[2] = {0, 0};
  struct state state = {
      .cr0 = CR0_PE | 0x10, .ip = (word)ap_start, .sp = (word)user_stack, .bx = addresses[14], .ax = KERNEL_DS,
      .dx = 0x1000, .bp = (word)results, .cs = KERNEL_CS, .ss = KERNEL_DS, .ds = KERNEL_DS, .es = KERNEL_DS,
      .gdtr_limit = gdt_table.limit, .gdtr_base = gdt_table.base,
  };
  vmi(62, (word)&state, 1, 0), go("SetInitialAPState");
  volatile u32 *icr = (u32 *)0xfee00300;
  icr[4] = 1 << 24, *icr = 0x4500; /* INIT */
  icr[4] = 1 << 24, *icr = 0x4610; /* start-up, a vector that does not matter */
  for (int i = 0; i < 10000000 && !results[1]; i++) asm volatile("pause");
  print("\nbegan %d sp %d", results[1], (word)user_stack - results[0]);
}

int main(void) {
  header();
  processor();
  returns();
  tables();
  time();
  start();
  kernel(vmcall_code), go("VMCALL without a number");
  user(vmcall_code), go("VMCALL, ring 3");
  return 0;
}
