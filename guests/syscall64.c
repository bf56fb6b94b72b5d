/* SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, segment bases, model-specific registers (SDM Vol. 2 and 4). */
#include "guest.h"

CODE(syscall_code, "syscall");
CODE32(syscall_32, "syscall");
CODE(sysret_32, "sysretl");
CODE(sysret_64, "sysretq");
CODE(sysenter_code, "sysenter");
CODE32(sysenter_32, "sysenter");
CODE(sysexit_32, "sysexitl");
CODE(sysexit_64, "sysexitq");
CODE32(sysexit_in_32, "sysexit");
CODE32(sysret_in_32, "sysret");
CODE(target, "mov %cs, %r8d\nmov %ss, %r9d\nrdfsbase %r12\nrdgsbase %r13");
CODE32(target_32, "mov %cs, %ebp\nmov %ss, %edi");
CODE(swapgs_code, "swapgs\nrdgsbase %rax");
CODE32(swapgs_32, ".byte 0x0f, 0x01, 0xf8");
CODE(wrfsbase_code, "wrfsbase %rax\nrdfsbase %rbx");
CODE(wrgsbase_32, "wrgsbase %eax\nrdgsbase %rbx");
CODE32(wrfsbase_in_32, ".byte 0xf3, 0x0f, 0xae, 0xd0");
CODE(rdgsbase_16, ".byte 0x66\nrdgsbase %ebx");
CODE(rdmsr_code, "rdmsr");
CODE(wrmsr_code, "wrmsr\nxor %eax, %eax\nxor %edx, %edx\nrdmsr");
CODE(rdtscp_code, "rdtscp\nmov $0, %eax\nmov $0, %edx");
CODE(rdpid_code, "rdpid %rax");
CODE(gs_read, "mov %gs:0, %eax");
CODE(gs_wrap, "mov %gs:(%rsi), %al");
CODE(fs_cut, "addr32 mov %fs:(%esi), %al");

#define STAR 0xc0000081
#define LSTAR 0xc0000082
#define CSTAR 0xc0000083
#define FMASK 0xc0000084
#define FS_BASE 0xc0000100
#define GS_BASE 0xc0000101
#define KERNEL_GS_BASE 0xc0000102
#define TSC_AUX 0xc0000103
#define SYSENTER_CS 0x174
#define SYSENTER_ESP 0x175
#define SYSENTER_EIP 0x176
#define EFER_SCE 1
#define EFER_LME 0x100

static void syscalls(void) {
  wrmsr(STAR, 0x0020000800000000 | 0x1234);
  wrmsr(LSTAR, (word)target);
  wrmsr(CSTAR, (word)target_32);
  static const word masks[] = {0, 0xffffffff, FLAG_IF | FLAG_TF | FLAG_AC};
  static const word flags[] = {2, FLAG_IF | FLAG_AC | FLAG_NT | FLAG_ID | 0x8d7, FLAG_DF | FLAG_OF | 2};
  for (int m = 0; m < 3; m++)
    for (int f = 0; f < 3; f++) {
      wrmsr(FMASK, masks[m]);
      user(syscall_code);
      in.flags = flags[f];
      go("SYSCALL, flags %x, mask %x", flags[f], masks[m]);
      kernel(syscall_code);
      in.flags = flags[f] & ~FLAG_IF;
      go("SYSCALL in ring 0, flags %x, mask %x", flags[f], masks[m]);
    }
  wrmsr(FMASK, 0);
  user(syscall_32), in.cs = USER_CS32, go("SYSCALL in 32 bits");
  wrmsr(STAR, 0x0020ffff00000000);
  user(syscall_code), go("SYSCALL, STAR with ffff");
  wrmsr(STAR, 0x0020000b00000000);
  user(syscall_code), go("SYSCALL, STAR with RPL 3");
  wrmsr(STAR, 0);
  user(syscall_code), go("SYSCALL, STAR 0");
  wrmsr(STAR, 0x0020000800000000);
  wrmsr(EFER, rdmsr(EFER) & ~EFER_SCE);
  user(syscall_code), go("SYSCALL without SCE");
  kernel(sysret_64), in.cx = (word)target, go("SYSRET without SCE");
  wrmsr(EFER, rdmsr(EFER) | EFER_SCE);
  for (int f = 0; f < 3; f++) {
    kernel(sysret_64), in.cx = (word)target, in.r11 = flags[f] & ~FLAG_IF, go("SYSRET 64, flags %x", in.r11);
    kernel(sysret_32), in.cx = (word)target_32, in.r11 = flags[f] & ~FLAG_IF, go("SYSRET 32, flags %x", in.r11);
  }
  kernel(sysret_64), in.cx = (word)target, in.r11 = ~0x2ff100ul, go("SYSRET 64, reserved flags");
  kernel(sysret_64), in.cx = (word)target, in.r11 = IOPL(3) | FLAG_RF | 0x20000, go("SYSRET 64, IOPL, RF and VM");
  kernel(sysret_64), in.cx = 1ul << 47, in.r11 = 2, go("SYSRET to an address that is not canonical");
  kernel(sysret_32), in.cx = (word)target_32 | 1ul << 47, in.r11 = 2, go("SYSRET 32 with a high address");
  user(sysret_64), in.cx = (word)target, in.r11 = 2, go("SYSRET in ring 3");
  kernel(sysret_in_32), in.cs = 0x18, in.cx = (word)target_32, in.r11 = 2, go("SYSRET in 32 bits");
  wrmsr(STAR, 0x0000000800000000);
  kernel(sysret_64), in.cx = (word)target, in.r11 = 2, go("SYSRET, STAR 0");
  wrmsr(STAR, 0x0020000800000000);
}

static void sysenters(void) {
  wrmsr(SYSENTER_CS, 0x08);
  wrmsr(SYSENTER_ESP, (word)kernel_stack);
  wrmsr(SYSENTER_EIP, (word)target);
  user(sysenter_code), go("SYSENTER");
  user(sysenter_code), in.flags |= FLAG_IF | FLAG_NT | FLAG_AC, go("SYSENTER, flags");
  kernel(sysenter_code), go("SYSENTER in ring 0");
  user(sysenter_32), in.cs = USER_CS32, go("SYSENTER from 32 bits");
  wrmsr(SYSENTER_CS, 0x0b);
  user(sysenter_code), go("SYSENTER, CS with RPL 3");
  for (word cs = 0; cs < 4; cs++) {
    wrmsr(SYSENTER_CS, cs);
    user(sysenter_code), go("SYSENTER, CS %x", cs);
    kernel(sysexit_64), in.cx = (word)user_stack, in.dx = (word)target, go("SYSEXIT, CS %x", cs);
  }
  wrmsr(SYSENTER_CS, 0x08);
  kernel(sysexit_64), in.cx = (word)user_stack, in.dx = (word)target, go("SYSEXIT 64");
  kernel(sysexit_64), in.cx = (word)user_stack, in.dx = (word)target, in.flags |= FLAG_AC | FLAG_NT, go("SYSEXIT 64, flags");
  kernel(sysexit_32), in.cx = (word)user_stack | 1ul << 40, in.dx = (word)target_32 | 1ul << 40, go("SYSEXIT 32");
  kernel(sysexit_64), in.cx = (word)user_stack, in.dx = 1ul << 47, go("SYSEXIT, RIP not canonical");
  kernel(sysexit_64), in.cx = 1ul << 47, in.dx = (word)target, go("SYSEXIT, RSP not canonical");
  user(sysexit_64), in.cx = (word)user_stack, in.dx = (word)target, go("SYSEXIT in ring 3");
  kernel(sysexit_in_32), in.cs = 0x18, in.cx = (word)user_stack, in.dx = (word)target_32, go("SYSEXIT in 32 bits");
  wrmsr(SYSENTER_CS, 0xfff8);
  user(sysenter_code), go("SYSENTER, CS fff8");
  kernel(sysexit_64), in.cx = (word)user_stack, in.dx = (word)target, go("SYSEXIT, CS fff8");
}

static void bases(void) {
  static const word values[] = {0, 0x12345678, 0x7fffffffffff, 0x800000000000, 0xffff800000000000, 0xffff7fffffffffff, ~0ul, 1ul << 63};
  for (unsigned i = 0; i < 8; i++) {
    user(wrfsbase_code), in.ax = values[i], go("WRFSBASE %x", values[i]);
    user(wrgsbase_32), in.ax = values[i], go("WRGSBASE of 32 bits %x", values[i]);
    static const u32 indexes[] = {FS_BASE, GS_BASE, KERNEL_GS_BASE, LSTAR, CSTAR, SYSENTER_ESP, SYSENTER_EIP, TSC_AUX, FMASK, STAR, SYSENTER_CS};
    for (int j = 0; j < 11; j++) {
      kernel(wrmsr_code);
      in.cx = indexes[j], in.ax = (u32)values[i], in.dx = values[i] >> 32;
      go("WRMSR %x with %x", (word)indexes[j], values[i]);
    }
  }
  wrmsr(GS_BASE, 0x111000);
  wrmsr(KERNEL_GS_BASE, 0x222000);
  kernel(swapgs_code), go("SWAPGS");
  kernel(swapgs_code), go("SWAPGS again");
  user(swapgs_code), go("SWAPGS in ring 3");
  kernel(swapgs_32), in.cs = 0x18, go("SWAPGS in 32 bits");
  user(wrfsbase_in_32), in.cs = USER_CS32, go("WRFSBASE in 32 bits");
  user(rdgsbase_16), go("RDGSBASE with 66");
  wrmsr(GS_BASE, 0xffff800000000000);
  user(gs_read), go("GS base beyond user space");
  wrmsr(GS_BASE, 0x7fffffffffff);
  user(gs_wrap), in.si = 1, go("GS base and offset meet the hole");
  wrmsr(GS_BASE, 0xfffffffffffff000);
  user(gs_wrap), in.si = (word)gs_wrap + 0x1000, go("GS base and offset wrap around");
  wrmsr(FS_BASE, (word)fs_cut);
  user(fs_cut), in.si = 0x100000000, go("FS with a cut address");
  write_cr4(read_cr4() & ~CR4_FSGSBASE);
  user(wrfsbase_code), go("WRFSBASE without FSGSBASE");
  write_cr4(read_cr4() | CR4_FSGSBASE);
}

static void registers(void) {
  user(rdmsr_code), in.cx = EFER, go("RDMSR in ring 3");
  user(wrmsr_code), in.cx = EFER, go("WRMSR in ring 3");
  static const u64 efers[] = {0xd01, 0xc01, 0x501, 0x901, 0xd03, 0x1d01, 0x2d01, 0x4d01, 0x8d01, 0x1d01ull << 8};
  for (int i = 0; i < 10; i++) {
    kernel(wrmsr_code), in.cx = EFER, in.ax = (u32)efers[i], in.dx = efers[i] >> 32, go("EFER %x", (word)efers[i]);
    wrmsr(EFER, 0xd01);
  }
  static const u64 pats[] = {0x0007040600070406, 0x0007040600070402, 0x0007040600070403, 0x0807040600070406, 0x0707070707070707, 0x0101010505050404};
  for (int i = 0; i < 6; i++) {
    kernel(wrmsr_code), in.cx = 0x277, in.ax = (u32)pats[i], in.dx = pats[i] >> 32, go("PAT %x", (word)pats[i]);
  }
  wrmsr(0x277, pats[0]);
  kernel(rdmsr_code), in.cx = 0xdeadbeef, go("RDMSR of no register");
  kernel(wrmsr_code), in.cx = 0xdeadbeef, go("WRMSR of no register");
  wrmsr(TSC_AUX, 0x4321);
  user(rdtscp_code), go("RDTSCP");
  user(rdpid_code), go("RDPID");
}

int main(void) {
  write_cr4(read_cr4() | CR4_FSGSBASE);
  syscalls();
  sysenters();
  bases();
  registers();
  return 0;
}
