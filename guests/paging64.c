/* Page faults in 64-bit mode: every error code, reserved bits, CR0 and CR4 bits, INVLPG, accessed and dirty bits. */
#include "guest.h"

CODE(read_code, "mov (%rsi), %al");
CODE(write_code, "mov %al, (%rsi)");
CODE(modify_code, "lock addb $1, (%rsi)");
CODE(fetch_code, "jmp *%rsi");
CODE(push_code, "mov %rsi, %rsp\npush %rax");
CODE(bit_test, "bt %rax, (%rsi)");
CODE(cross_write, "mov %rax, -4(%rsi)");
CODE(cross_read, "mov -4(%rsi), %rax");
CODE(prefetch_code, "prefetcht0 (%rsi)");
CODE(clflush_code, "clflush (%rsi)");
CODE(cmpxchg_code, "cmpxchg %bl, (%rsi)");
CODE(cmpxchg16b_code, "cmpxchg16b (%rsi)");
CODE(wide_store, "movups %xmm0, (%rsi)");
CODE(cross_store, "movups %xmm0, -8(%rsi)");

#define TARGET SPARE
static word start_cr0, start_cr4;

static void supervisor_code(int yes) {
  for (word page = (word)code_start; page < (word)code_end; page += 4096)
    if (yes) low_tables[page / 4096] &= ~U;
    else low_tables[page / 4096] |= U;
  write_cr3(read_cr3());
}

static void prepare(const void *code, int ring, word flags) {
  if (ring) user(code);
  else kernel(code);
  in.si = PAGE(0);
  in.flags |= flags;
  *(volatile u8 *)TARGET = 0xcc;
}

/* One line: what all page flags make of one kind of access. */
static void matrix(const char *what, const void *code, int ring, word flags, int no_nx) {
  print("\n%s ring %d cr0.wp %x smep %x smap %x ac %x:", what, ring, read_cr0() >> 16 & 1, read_cr4() >> 20 & 1,
        read_cr4() >> 21 & 1, flags >> 18 & 1);
  for (word bits = 0; bits < 9; bits++) {
    word entry = bits == 8 ? 0 : P | ((bits & 1) ? W : 0) | ((bits & 2) ? U : 0) | ((bits & 4) ? NX : 0);
    if (no_nx && (entry & NX)) continue;
    prepare(code, ring, flags);
    map(0, TARGET, entry);
    run(&in);
    print(" %s%s%s%s", entry & P ? "" : "-", entry & W ? "w" : "", entry & U ? "u" : "", entry & NX ? "n" : "");
    if (out.vector == 14) print("=%x%s", out.error, out_cr2 == in.si ? "" : " other cr2");
    else print("=ok%s", out.vector == 3 ? "" : " other vector");
    print(" %x", window[0] >> 5 & 3);
  }
}

static void all_matrices(word flags) {
  for (int ring = 0; ring <= 3; ring += 3) {
    matrix("read", read_code, ring, flags, 0);
    matrix("write", write_code, ring, flags, 0);
    matrix("modify", modify_code, ring, flags, 0);
    matrix("fetch", fetch_code, ring, flags, 0);
  }
}

static void levels(void) {
  /* What upper levels forbid the page cannot allow. */
  static u64 *const tables[] = {&pml4[0], &pdpt[0], &pd[4]};
  for (int level = 0; level < 3; level++) {
    static const word missing[] = {U, W, P};
    for (int i = 0; i < 3; i++) {
      if (level < 2 && missing[i] != U) continue; /* the test kernel itself is there */
      for (int ring = 0; ring <= 3; ring += 3)
        for (int write = 0; write < 2; write++) {
          if (level < 2 && ring == 3) continue;
          map(0, TARGET, P | W | U);
          prepare(write ? write_code : read_code, ring, 0);
          *tables[level] &= ~missing[i];
          write_cr3(read_cr3());
          go("level %d without %x, ring %d write %d", level, missing[i], ring, write);
          *tables[level] |= missing[i];
          write_cr3(read_cr3());
        }
    }
  }
  map(0, TARGET, P | W | U);
  prepare(fetch_code, 0, 0);
  pd[4] |= NX;
  write_cr3(read_cr3());
  go("fetch, directory with NX");
  pd[4] &= ~NX;
  write_cr3(read_cr3());
}

static void reserved(void) {
  static const word bits[] = {39, 45, 51, 52, 58, 62};
  for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++) {
    for (int ring = 0; ring <= 3; ring += 3) {
      prepare(read_code, ring, 0);
      map(0, TARGET, P | W | U | 1ul << bits[i]);
      go("page with bit %x, ring %d", bits[i], ring);
    }
    map(0, TARGET, P | W | U);
    prepare(write_code, 0, 0);
    pd[4] |= 1ul << bits[i];
    write_cr3(read_cr3());
    go("directory entry with bit %x", bits[i]);
    pd[4] &= ~(1ul << bits[i]);
    write_cr3(read_cr3());
  }
  map(0, TARGET, (1ul << 45) | W | U);
  prepare(read_code, 0, 0);
  go("absent page with reserved bit");

  static const word large[] = {12, 13, 15, 20};
  u64 old = pd[4];
  for (int i = 0; i < 4; i++) {
    pd[4] = TARGET | P | W | U | LARGE | 1ul << large[i];
    write_cr3(read_cr3());
    prepare(read_code, 0, 0);
    go("2 MiB page with bit %x", large[i]);
  }
  pd[4] = old;
  for (int bit = 12; bit < 30; bit += 5) {
    pdpt[1] = P | W | U | LARGE | 1ul << bit;
    prepare(read_code, 0, 0);
    in.si = 0x40000000 + 0x100000;
    write_cr3(read_cr3());
    go("1 GiB page with bit %x", (word)bit);
  }
  pdpt[1] = 0;
  /* The bit that makes pages large is reserved in the topmost level. */
  pml4[1] = (word)pdpt | P | W | U | LARGE;
  prepare(read_code, 0, 0);
  in.si = 1ul << 39;
  go("top entry with bit 7");
  pml4[1] = 0;
  write_cr3(read_cr3());
  /* Without EFER.NXE bit 63 is reserved. */
  wrmsr(EFER, rdmsr(EFER) & ~EFER_NXE);
  map(0, TARGET, P | W | U | NX);
  prepare(read_code, 0, 0);
  go("NX without NXE, read");
  prepare(fetch_code, 0, 0);
  go("NX without NXE, fetch");
  map(0, TARGET, P | W);
  prepare(fetch_code, 3, 0);
  go("fetch without NXE, ring 3");
  wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
}

static void large_pages(void) {
  u64 old = pd[4];
  static const word flags[] = {P, P | W, P | U, P | W | U, P | W | U | NX, 0};
  for (int i = 0; i < 6; i++)
    for (int ring = 0; ring <= 3; ring += 3) {
      static const u8 *const codes[] = {read_code, write_code, fetch_code};
      for (int code = 0; code < 3; code++) {
        pd[4] = TARGET | LARGE | flags[i];
        write_cr3(read_cr3());
        prepare(codes[code], ring, 0);
        in.si += 0x4321;
        *(volatile u8 *)(SPARE + 0x4321) = 0xcc;
        go("2 MiB page %x ring %d code %d", flags[i], ring, code);
        print(" entry %x", pd[4]);
      }
    }
  pd[4] = old;
  write_cr3(read_cr3());
  for (int write = 0; write < 2; write++) {
    pdpt[1] = P | W | U | LARGE;
    prepare(write ? write_code : read_code, 3, 0);
    in.si = 0x40000000 + SPARE + 0x123;
    *(volatile u8 *)(SPARE + 0x123) = 0x77;
    go("1 GiB page write %d", write);
    print(" entry %x, byte %x", pdpt[1], (word) * (volatile u8 *)(SPARE + 0x123));
    pdpt[1] = 0;
    write_cr3(read_cr3());
  }
}

static void addresses(void) {
  static const word bad[] = {0x800000000000, 0xffff7fffffffffff, 0x7fffffffffff, 0x8000000000000000, 0xfffffffffffffffc};
  for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
    static const u8 *const codes[] = {read_code, write_code, push_code, fetch_code, bit_test, cross_read, wide_store, clflush_code};
    for (int code = 0; code < 8; code++) {
      prepare(codes[code], 0, 0);
      in.si = bad[i];
      go("address %x code %d", bad[i], code);
    }
  }
  map(0, TARGET, P | W | U);
  map(1, TARGET + 4096, P);
  map(2, TARGET + 8192, 0);
  static const u8 *const codes[] = {cross_write, cross_read, cross_store, modify_code, cmpxchg_code, cmpxchg16b_code, bit_test, clflush_code, prefetch_code, push_code};
  for (int page = 1; page < 3; page++)
    for (int ring = 0; ring <= 3; ring += 3)
      for (int code = 0; code < 10; code++) {
        prepare(codes[code], ring, 0);
        for (int i = 0; i < 32; i++) ((volatile u8 *)TARGET)[0xff0 + i] = i;
        in.si = PAGE(page);
        in.ax = 0x40;
        go("at page %d ring %d code %d", page, ring, code);
        print(" before %x %x", ((volatile u64 *)TARGET)[0x1fe], ((volatile u64 *)TARGET)[0x1ff]);
      }
}

static void translation_caches(void) {
  map(0, TARGET, P | W | U);
  map(1, TARGET + 4096, P | W | U | G);
  for (int i = 0; i < 2; i++) *(volatile u8 *)PAGE(i) = 1;
  window[0] = 0;
  window[1] = 0;
  invlpg(PAGE(0) + 5);
  invlpg(PAGE(1) + 5);
  for (int i = 0; i < 2; i++) {
    prepare(read_code, 0, 0);
    in.si = PAGE(i);
    go("after INVLPG of page %d", i);
  }
  map(0, TARGET, P | W | U);
  *(volatile u8 *)PAGE(0) = 1;
  window[0] = P;
  write_cr3(read_cr3());
  prepare(write_code, 3, 0);
  go("after MOV CR3");
  /* Flags that only grow need no INVLPG. */
  map(0, TARGET, P);
  prepare(read_code, 0, 0);
  run(&in);
  window[0] = TARGET | P | W | U;
  prepare(write_code, 3, 0);
  go("more rights");
  /* Changes of CR4.PGE drop global entries. */
  map(1, TARGET + 4096, P | W | U | G);
  write_cr4(start_cr4 | CR4_PGE);
  *(volatile u8 *)PAGE(1) = 1;
  window[1] = 0;
  write_cr4(start_cr4);
  prepare(read_code, 0, 0);
  in.si = PAGE(1);
  go("after CR4.PGE");
}

int main(void) {
  start_cr0 = read_cr0();
  start_cr4 = read_cr4();
  for (int mode = 0; mode < 8; mode++) {
    write_cr0(mode & 1 ? start_cr0 & ~CR0_WP : start_cr0);
    supervisor_code(0);
    if (mode & 2) supervisor_code(1);
    write_cr4(start_cr4 | (mode & 2 ? CR4_SMEP : 0) | (mode & 4 ? CR4_SMAP : 0));
    if (mode & 2) {
      /* With SMEP ring 0 runs from supervisor pages, ring 3 cannot. */
      matrix("read", read_code, 0, 0, 0);
      matrix("write", write_code, 0, FLAG_AC, 0);
      matrix("fetch", fetch_code, 0, 0, 0);
      matrix("fetch", fetch_code, 0, FLAG_AC, 0);
    } else {
      all_matrices(0);
      if (mode & 4) all_matrices(FLAG_AC);
    }
    write_cr4(start_cr4);
    supervisor_code(0);
  }
  write_cr0(start_cr0);
  levels();
  reserved();
  large_pages();
  addresses();
  translation_caches();
  return 0;
}
