/*
 * The end of user.c in the kernel that asks everything: each piece of code once in the kernel and once in user mode, by
 * name, then what comes from outside: events, NMIs.
 */
extern u8 stubs[];
static void nmi(u64 a, u64 b) { H3(VCPU_OP, 11, 0, 0); }
static void wait(u64 a, u64 b) { H2(SCHED_OP, 1, 0); }
static void wait_as_before(u64 a, u64 b) { H2(6, 1, 0); }
static void let_in(u64 a, u64 b) { ((volatile u8 *)a)[1] = 0, H2(XEN_VERSION, 0, 0); }
CODE(system_enter, "sysenter")
CODE(floats, "movl $0, -4(%rsp); ldmxcsr -4(%rsp); xorps %xmm0, %xmm0; divps %xmm0, %xmm0")
CODE(x87, "fninit; fldz; push $0; fldcw (%rsp); fldz; fdivrp; fwait")
CODE(misaligned, "pushf; orl $0x40000, (%rsp); popf; mov 1(%rsp), %eax")
CODE(single_step, "pushf; orl $0x100, (%rsp); popf; nop; nop")

/* Where it came from is told from the code's start, if it is there. */
static void ended(const char *name, const char *mode, void (*code)(u64, u64)) {
  print("%s, %s: ", name, mode);
  if (trap.vector == 0x102) print("syscall");
  else if (trap.vector == 0x100) print("event");
  else print("vector %x error %x", trap.vector, trap.error);
  u64 from = trap.rip - (u64)code;
  print(" at %x cs %x flags %x ss %x mask %x", from < 64 ? from : trap.rip, trap.cs, trap.rflags & 0xfe7fff, trap.ss, trap.mask);
  if (trap.vector == 14 && trap.cr2 == (u64)pool) print(" address of the page");
  else if (trap.vector == 14) print(" address %x", trap.cr2);
  print("\n");
  asm volatile("mov %0, %%es; mov %0, %%ds; mov %0, %%fs; mov %0, %%gs" : : "r"(0));
}

/* By the hypercall iret, with an argument for RDI and RSI. */
static void go(const char *name, void (*code)(u64, u64), u64 a, u64 b) {
  for (int user = 0; user < 2; user++) {
    /* In the kernel these are hypercalls, go on, or would end the domain (SYSENTER, which has no stack). */
    if (!user && (code == just_syscall || code == coprocessor || code == port_in || code == system_enter)) continue;
    struct { u64 rax, r11, rcx, flags, rip, cs, rflags, rsp, ss; } frame = {
      0, 0, 0, 0, (u64)code, user ? 0xe033 : 0xe030, 0x202, (u64)user_stack + sizeof user_stack - 64, 0xe02b};
    entry_arguments[0] = a, entry_arguments[1] = b;
    set_user_root(root);
    H2(STACK_SWITCH, 0xe02b, trap_stack + sizeof trap_stack);
    trap.vector = 0x999;
    attempt(enter, (u64)&frame, 0);
    ended(name, user ? "user" : "kernel", code);
  }
  H1(FPU_TASKSWITCH, 0);
}

/* In the kernel; what comes is an event or an NMI. */
static void come(const char *name, void (*code)(u64, u64), u64 a) {
  trap.vector = 0x999;
  if (attempt(code, a, 0)) print("%s: vector %x cs %x mask %x\n", name, trap.vector, trap.cs, trap.mask);
  else print("%s: nothing\n", name);
  quiet();
}

void user_all(void) {
  extern u8 shared_page[];
  for (u16 type = 0; type < 3; type++) {
    struct { u16 type, flags; u64 address; } op = {type, 0, (u64)callbacks + 16 * type};
    H2(CALLBACK_OP, 0, &op);
  }
  quiet();
#define GO(code, a, b) go(#code, code, a, b)
  GO(just_syscall, 0, 0), GO(divide, 0, 0), GO(single_step, 0, 0), GO(breakpoint, 0, 0), GO(overflow, 0, 0), GO(undefined, 0, 0);
  H1(FPU_TASKSWITCH, 1), GO(coprocessor, 0, 0);
  GO(load_es, 0, 0x07), GO(load_ss, 0, 0x07), GO(load_es, 0, 0x13), GO(load_ds, 0, 0xe008), GO(load_fs, 0, 0x17), GO(load_gs, 0, 0x0f), GO(load_ss, 0, 0x13);
  GO(load_es, 0, 0xe02b), GO(far_return, 0, 0xe033), GO(far_return, 0, 0x13);
  GO(int80, 0, 0), GO(privileged, 0x1000, 0), GO(invalidate, 0x1000, 0), GO(halt, 0, 0), GO(clear_if, 0, 0);
  GO(port_in, 0, 0), GO(port_out, 0, 0), GO(read_cr0, 0, 0), GO(write_cr2, 0x1000, 0), GO(clear_ts, 0, 0), GO(read_msr, 0, 0), GO(write_msr, 0, 0);
  GO(caches, 0, 0), GO(read_debug, 0, 0), GO(write_debug, 0x1000, 0), GO(forced, 0, 0), GO(broken_forced, 0, 0), GO(flags, 0, 0);
  GO(read, 0x1000, 0), GO(read, 0x800000000000ul, 0), GO(read, 0xffff880000000000ul, 0), GO(write, 0x1000, 0), GO(write, (u64)pool, 0), GO(call, 0x1000, 0);
  GO(x87, 0, 0), GO(misaligned, 0, 0), GO(floats, 0, 0);
  struct { u16 type, flags; u64 address; } enter_by = {5, 1, 0};
  H2(CALLBACK_OP, 0, &enter_by);
  GO(system_enter, 0, 0);
  enter_by.address = (u64)callbacks + 32;
  H2(CALLBACK_OP, 0, &enter_by);
  GO(system_enter, 0, 0);
  come("no event", let_in, (u64)shared_page);
  raise_port(upcall_port[0]), come("an event that is let in", let_in, (u64)shared_page);
  raise_port(upcall_port[0]), come("SCHEDOP_block", wait, 0);
  raise_port(upcall_port[0]), come("sched_op_compat, block", wait_as_before, 0);
  struct { u64 address, pad; } handler = {(u64)stubs + 2 * 16};
  H2(28, 0, &handler);
  come("NMI", nmi, 0);
  H2(28, 1, 0);
  come("NMI without a handler", nmi, 0);
}
