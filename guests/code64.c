/*
 * Code that changes, under every name that its memory has; instructions across pages; instructions that go on after a
 * page fault (SDM Vol. 3A 8.1.3, 11.6; Vol. 2, REP).
 */
#include "guest.h"

/* Each begins at offset 0 of a page of its own, where `place` has put it. */
CODE(next, "movb $0x2a, 1f+1(%rip)\n1: mov $1, %al");
CODE(next_line, "movb $0x2a, 1f+1(%rip)\n.skip 200, 0x90\n1: mov $1, %al");
CODE(next_other, "movb $0x2a, (%rsi)\nmov $1, %al");
CODE(before, "xor %ecx, %ecx\n1: mov $1, %al\ninc %ecx\nmovb $0x2a, 1b+1(%rip)\ncmp $2, %ecx\njb 1b");
CODE(locked, "lock addl $0x29, 1f+1(%rip)\n1: mov $1, %eax");
CODE(pushed, "mov %rsp, %rbx\nlea 1f+8(%rip), %rsp\nmov $0x9090909090902ab0, %rax\npush %rax\nmov %rbx, %rsp\n1: mov $1, %al\n.skip 6, 0x90");
CODE(repeated, "lea 1f(%rip), %rdi\nmov $4, %ecx\nmov $0x90, %al\nrep stosb\n1: mov $1, %bl\nmov $2, %bh");
CODE(repeated_itself, "lea 1f(%rip), %rdi\nmov $6, %ecx\nmov $0x90, %al\n1: rep stosb\nmov $1, %bl\nmov $2, %bh");
CODE(copied, "lea 2f(%rip), %rsi\nlea 1f(%rip), %rdi\nmov $2, %ecx\nrep movsb\n1: mov $1, %al\njmp 3f\n2: mov $0x2a, %al\n3: nop");
CODE(wide, "movups 2f(%rip), %xmm0\nmovups %xmm0, 1f(%rip)\n1: mov $1, %al\n.skip 14, 0x90\njmp 3f\n2: mov $0x2a, %al\n.skip 14, 0x90\n3: nop");
CODE(many, "xor %ecx, %ecx\nxor %ebx, %ebx\n1: mov %cl, 2f+1(%rip)\n2: mov $0xff, %al\nmovzbl %al, %eax\nadd %eax, %ebx\ninc %ecx\ncmp $100, %ecx\njb 1b");
CODE(called, "mov $1, %edi\ncall 2f\nmov %eax, %ebx\nmovb $0x2a, 2f+1(%rip)\ncall 2f\njmp 3f\n2: mov $1, %eax\nret\n3: nop");
CODE(overlapping, "mov $3, %ecx\n1: .byte 0xeb, 0xff, 0xc0\n loop 1b");
CODE(far_away, "movb $0x2a, 0x1001(%rip)\nmov $7, %al");
CODE(load, "mov $0x11223344, %eax");
CODE(load_other, "mov $0x55667788, %eax");
CODE(call_page, "call *%rsi");
CODE(both_modes, ".byte 0x48, 0x40, 0x90, 0x90");
CODE(copy_bytes, "rep movsb");
CODE(copy_down, "std\nrep movsb\ncld");
CODE(fill_words, "rep stosl");
CODE(compare_bytes, "repe cmpsb");
CODE(scan_bytes, "repne scasb");
CODE(read_port, "rep insb");
CODE(write_port, "rep outsb");
CODE(add_across, "addq $1, (%rsi)");
CODE(store_across, "movups %xmm0, (%rsi)");
CODE(push_across, "mov %rsi, %rsp\npush %rax\npush %rbx");
CODE(save_across, "fxsave (%rsi)");
CODE(enter_across, "mov %rsi, %rsp\nmov %rsi, %rbp\nenter $16, $3");
CODE(call_across, "mov %rsi, %rsp\ncall 1f\n1: nop");

#define HOME 16
#define ALIAS 32
#define FRAME(i) (SPARE + 0x10000 + (i) * 4096ul)

/* Copies code to a page: `offset` in it. */
static u8 *place(const u8 *code, word offset) {
  for (int i = 0; i < 3; i++) {
    map(HOME + i, FRAME(i), P | W | U);
    map(ALIAS + i, FRAME(i), P | W | U);
  }
  u8 *to = (u8 *)PAGE(HOME) + offset;
  for (int i = 0; i < 1024; i++) to[i] = code[i];
  return to;
}

static void start(const void *code, int ring) {
  if (ring) user(code);
  else kernel(code);
}

static void modified(void) {
  static const struct {
    const char *name;
    const u8 *code;
  } cases[] = {{"the next instruction", next}, {"another line", next_line}, {"one before", before}, {"locked", locked}, {"pushed", pushed}, {"REP STOS", repeated}, {"REP STOS over itself", repeated_itself}, {"REP MOVS", copied}, {"16 bytes", wide}, {"a hundred times", many}, {"a function", called}, {"overlapping instructions", overlapping}};
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int ring = 0; ring <= 3; ring += 3)
      /* At the start of a page, within it, across two. */
      for (word offset = 0; offset < 4096; offset = offset ? offset * 3 + 800 : 64) {
        start(place(cases[i].code, offset), ring);
        go("%s, ring %d, offset %x", cases[i].name, ring, offset);
        start(place(cases[i].code, 4096 - 4), ring);
        if (offset == 0) go("%s, ring %d, across pages", cases[i].name, ring);
        /* Once more, without a change from outside. */
        start((u8 *)PAGE(HOME) + (offset ? offset : 4096 - 4), ring);
        go("%s, ring %d, offset %x, again", cases[i].name, ring, offset);
      }
}

static void aliases(void) {
  u8 *code = place(next_other, 0);
  start(code, 3), in.si = PAGE(ALIAS) + 4, go("by another mapping, the next instruction");
  code = place(next_other, 4096 - 3);
  start(code, 3), in.si = PAGE(ALIAS + 1) + 1, go("by another mapping, in the next page");
  /* Frames change places under code that has run. */
  place(load, 0);
  for (int i = 0; i < 16; i++) ((u8 *)PAGE(ALIAS + 1))[i] = load_other[i];
  start((void *)PAGE(HOME), 0), go("a page");
  map(HOME, FRAME(1), P | W | U);
  start((void *)PAGE(HOME), 0), go("the same with another frame");
  map(HOME, FRAME(0), P | W | U);
  start((void *)PAGE(HOME), 0), go("the first frame again");
  ((volatile u8 *)PAGE(ALIAS))[1] = 0x99;
  start((void *)PAGE(HOME), 0), go("changed by its alias");
  ((volatile u8 *)FRAME(0))[2] = 0xaa;
  start((void *)PAGE(HOME), 0), go("changed by its identity mapping");
  start((void *)PAGE(ALIAS), 0), go("its alias");
  /* The second half of an instruction across pages. */
  place(load, 4096 - 3);
  start((u8 *)PAGE(HOME + 1) - 3, 0), go("across pages");
  ((volatile u8 *)PAGE(ALIAS + 1))[1] = 0x77;
  start((u8 *)PAGE(HOME + 1) - 3, 0), go("across pages, second half changed");
  for (int i = 0; i < 16; i++) ((u8 *)FRAME(2))[i] = load_other[i + 3];
  map(HOME + 1, FRAME(2), P | W | U);
  start((u8 *)PAGE(HOME + 1) - 3, 0), go("across pages, second half elsewhere");
  map(HOME + 1, 0, 0);
  for (int ring = 0; ring <= 3; ring += 3) start((u8 *)PAGE(HOME + 1) - 3, ring), go("across pages, second half absent, ring %d", ring);
  map(HOME + 1, FRAME(1), P | NX | U);
  start((u8 *)PAGE(HOME + 1) - 3, 0), go("across pages, second half NX");
  map(HOME + 1, FRAME(1), P);
  start((u8 *)PAGE(HOME + 1) - 3, 3), go("across pages, second half the supervisor's");
  start((u8 *)PAGE(HOME + 1) - 3, 0), go("across pages, second half the supervisor's, ring 0");
  map(HOME, 0, 0);
  start((u8 *)PAGE(HOME + 1) - 3, 0), go("across pages, first half absent");
  /* The same bytes in both modes. */
  place(both_modes, 0);
  start((void *)PAGE(HOME), 3), go("64 bits");
  start((void *)PAGE(HOME), 3), in.cs = USER_CS32, go("32 bits");
  start((void *)PAGE(HOME), 3), go("64 bits again");
  ((volatile u8 *)PAGE(ALIAS))[1] = 0x90;
  start((void *)PAGE(HOME), 3), in.cs = USER_CS32, go("32 bits, changed");
  start((void *)PAGE(HOME), 3), go("64 bits, changed");
  /* Execution through a page that becomes unreadable for ring 3. */
  place(load, 0);
  start(call_page, 3), in.si = PAGE(HOME), go("called");
  map(HOME, FRAME(0), P | W);
  start(call_page, 3), in.si = PAGE(HOME), go("called, the supervisor's");
  map(HOME, FRAME(0), P | W | U | NX);
  start(call_page, 3), in.si = PAGE(HOME), go("called, NX");
  map(HOME, FRAME(0), P | U);
  start(call_page, 3), in.si = PAGE(HOME), go("called, read-only");
}

static int faults;
static word at_fault[4];

/* Maps the page that was missing and goes on. */
static int on_fault(struct frame *frame) {
  if (frame->vector != 14 || faults == 8) return 0;
  if (faults < 4) at_fault[faults] = frame->cx;
  faults++;
  int page = (out_cr2 - WINDOW) / 4096;
  map(page, SPARE + 0x40000 + page * 4096ul, P | W | U);
  return 1;
}

static word checksum(void) {
  word sum = 0;
  for (int page = 64; page < 80; page++)
    for (int i = 0; i < 512; i++) sum = sum * 31 + ((volatile u64 *)(SPARE + 0x40000 + page * 4096ul))[i];
  return sum;
}

static void restarted(void) {
  static const struct {
    const char *name;
    const u8 *code;
    u32 count;
    int si, di;
  } cases[] = {
      {"REP MOVS", copy_bytes, 9000, 0x10100, 0x20333},     {"REP MOVS down", copy_down, 9000, 0x13100, 0x23333},
      {"REP MOVS, overlapping", copy_bytes, 5000, 0x10100, 0x10103},
      {"REP STOS", fill_words, 3000, 0, 0x20ffe},           {"REPE CMPS", compare_bytes, 8000, 0x10fff, 0x20fff},
      {"REPNE SCAS", scan_bytes, 9000, 0, 0x10ff0},         {"REP INS", read_port, 5000, 0, 0x20ffd},
      {"REP OUTS", write_port, 5000, 0x10ffd, 0},           {"ADD", add_across, 0, 0x10ffd, 0},
      {"MOVUPS", store_across, 0, 0x10ff9, 0},              {"PUSH", push_across, 0, 0x21004, 0},
      {"FXSAVE", save_across, 0, 0x10f80, 0},               {"ENTER", enter_across, 0, 0x2100c, 0},
      {"CALL", call_across, 0, 0x21004, 0},
  };
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int ring = 0; ring <= 3; ring += 3) {
      /* Pages 64 to 79: sources from 10000 on, targets from 20000 on, of which only the first is there. */
      for (int page = 64; page < 80; page++) {
        for (int j = 0; j < 512; j++)
          ((volatile u64 *)(SPARE + 0x40000 + page * 4096ul))[j] = page < 72 ? 0x0701050203060408 * (j + page) : 0;
        map(page, SPARE + 0x40000 + page * 4096ul, page % 8 == 0 ? P | W | U : 0);
      }
      start(cases[i].code, ring);
      in.cx = cases[i].count;
      in.ax = 0xa5a5a5a5;
      in.dx = 0x390;
      word from = PAGE(64) - 0x10000, to = PAGE(72) - 0x20000;
      if (cases[i].si) in.si = (cases[i].si >> 16 == 2 ? to : from) + cases[i].si;
      if (cases[i].di) in.di = (cases[i].di >> 16 == 2 ? to : from) + cases[i].di;
      if (cases[i].code == compare_bytes)
        for (int j = 0; j < 8000; j++) ((volatile u8 *)(SPARE + 0x40000 + 73 * 4096ul - 1))[j] = ((volatile u8 *)(SPARE + 0x40000 + 65 * 4096ul - 1))[j];
      faults = 0;
      hook = on_fault;
      go("%s, ring %d", cases[i].name, ring);
      print(" faults %d", faults);
      for (int j = 0; j < faults && j < 4; j++) print(" %x", at_fault[j]);
      if (cases[i].code != save_across) print(" sum %x", checksum());
    }
}

int main(void) {
  modified();
  aliases();
  restarted();
  return 0;
}
