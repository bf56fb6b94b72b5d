/* Paging in 32-bit mode: tables of two levels with 4 MiB pages, and PAE (SDM Vol. 3A 4.3, 4.4). */
#include "guest.h"

CODE(read_code, "mov (%esi), %al");
CODE(write_code, "mov %al, (%esi)");
CODE(modify_code, "addb $1, (%esi)");
CODE(fetch_code, "jmp *%esi");
CODE(cross_code, "mov %eax, -2(%esi)");
CODE(load_cr3, "mov %eax, %cr3\nmov (%esi), %bl");
CODE(load_cr0, "mov %eax, %cr0\nmov %cr0, %ebx\nmov %ecx, %cr0");
CODE(load_cr4, "mov %eax, %cr4\nmov %cr4, %ebx\nmov %ecx, %cr4");

#define P 1u
#define W 2u
#define U 4u
#define LARGE 0x80u
#define G 0x100u
#define NX (1ull << 63)
/* A window of 4 KiB pages, and RAM for it and for large pages. */
#define WINDOW 0x800000u
#define SPARE 0x400000u

static u32 directory[1024] __attribute__((aligned(4096)));
static u32 table[1024] __attribute__((aligned(4096)));
static u64 pdpt[4] __attribute__((aligned(4096)));
static u64 directories[4][512] __attribute__((aligned(4096)));
static u64 wide_table[512] __attribute__((aligned(4096)));
static word cr0, cr4;

static void prepare(const u8 *code, int ring) {
  if (ring) user(code);
  else kernel(code);
  in.si = WINDOW;
  *(volatile u8 *)SPARE = 0xcc;
}

static const u8 *const codes[] = {read_code, write_code, modify_code, fetch_code};
static const char *const code_names[] = {"read", "write", "modify", "fetch"};

static void two_levels(void) {
  for (u32 i = 0; i < 2; i++) directory[i] = i << 22 | LARGE | P | W | U;
  directory[WINDOW >> 22] = (u32)table | P | W | U;
  write_cr4(cr4 | CR4_PSE);
  write_cr3((word)directory);
  for (int wp = 0; wp < 2; wp++) {
    write_cr0(cr0 | CR0_PG | (wp ? CR0_WP : 0));
    for (int code = 0; code < 4; code++)
      for (int ring = 0; ring <= 3; ring += 3) {
        for (u32 bits = 0; bits < 5; bits++) {
          u32 entry = bits == 4 ? 0 : P | ((bits & 1) ? W : 0) | ((bits & 2) ? U : 0);
          prepare(codes[code], ring);
          table[0] = SPARE | entry;
          invlpg(WINDOW);
          go("%s, ring %d, WP %d, page %x", code_names[code], ring, wp, (word)entry);
          print(" AD %x", (word)table[0] >> 5 & 3);
          directory[WINDOW >> 22] = (u32)table | entry;
          table[0] = SPARE | P | W | U;
          write_cr3((word)directory);
          prepare(codes[code], ring);
          go("%s, ring %d, WP %d, directory %x", code_names[code], ring, wp, (word)entry);
          print(" A %x", (word)directory[WINDOW >> 22] >> 5 & 1);
          directory[WINDOW >> 22] = SPARE | LARGE | entry;
          write_cr3((word)directory);
          prepare(codes[code], ring);
          go("%s, ring %d, WP %d, 4 MiB %x", code_names[code], ring, wp, (word)entry);
          print(" AD %x", (word)directory[WINDOW >> 22] >> 5 & 3);
          directory[WINDOW >> 22] = (u32)table | P | W | U;
          write_cr3((word)directory);
        }
      }
  }
  for (int bit = 12; bit < 22; bit++) {
    directory[WINDOW >> 22] = SPARE | LARGE | P | W | U | 1u << bit;
    write_cr3((word)directory);
    /* Bits 13 to 19 are those of an address above 4 GiB, where nothing is. */
    if (bit >= 13 && bit < 20) continue;
    prepare(read_code, 0), go("4 MiB page with bit %x", (word)bit);
  }
  directory[WINDOW >> 22] = (u32)table | P | W | U;
  table[0] = SPARE | P | W | U;
  table[1] = 0;
  write_cr3((word)directory);
  for (int ring = 0; ring <= 3; ring += 3) prepare(cross_code, ring), in.si = WINDOW + 4096, go("across pages, ring %d", ring);
  /* Without PSE the bit means nothing; the kernel must not need it. */
  prepare(load_cr0, 0), in.ax = cr0, in.cx = read_cr0(), go("paging off and on");
  prepare(load_cr0, 0), in.ax = cr0 & ~CR0_PE, in.cx = read_cr0(), in.ax |= CR0_PG, go("PG without PE");
  prepare(load_cr4, 0), in.ax = read_cr4() | CR4_PCIDE, in.cx = read_cr4(), go("PCIDE outside long mode");
  prepare(load_cr4, 0), in.ax = read_cr4() | CR4_PGE, in.cx = read_cr4(), go("PGE");
  write_cr0(cr0);
}

static void pae(void) {
  for (u32 i = 0; i < 4; i++) {
    pdpt[i] = (u32)directories[i] | P;
    for (u32 j = 0; j < 512; j++) directories[i][j] = i == 0 && j < 4 ? (u64)j << 21 | LARGE | P | W | U : 0;
  }
  directories[0][WINDOW >> 21] = (u32)wide_table | P | W | U;
  wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
  write_cr4(cr4 | CR4_PAE);
  write_cr3((word)pdpt);
  write_cr0(cr0 | CR0_PG | CR0_WP);
  for (int code = 0; code < 4; code++)
    for (int ring = 0; ring <= 3; ring += 3)
      for (u32 bits = 0; bits < 9; bits++) {
        u64 entry = bits == 8 ? 0 : P | ((bits & 1) ? W : 0) | ((bits & 2) ? U : 0) | ((bits & 4) ? NX : 0);
        prepare(codes[code], ring);
        wide_table[0] = SPARE | entry;
        invlpg(WINDOW);
        go("PAE, %s, ring %d, page %x%s", code_names[code], ring, (word)entry, entry & NX ? " NX" : "");
        print(" AD %x", (word)wide_table[0] >> 5 & 3);
        directories[0][WINDOW >> 21] = SPARE | LARGE | entry;
        write_cr3((word)pdpt);
        prepare(codes[code], ring);
        go("PAE, %s, ring %d, 2 MiB %x%s", code_names[code], ring, (word)entry, entry & NX ? " NX" : "");
        print(" AD %x", (word)directories[0][WINDOW >> 21] >> 5 & 3);
        directories[0][WINDOW >> 21] = (u32)wide_table | P | W | U;
        write_cr3((word)pdpt);
      }
  static const u8 bits[] = {39, 45, 51, 52, 62};
  for (int i = 0; i < 5; i++) {
    wide_table[0] = SPARE | P | W | U | 1ull << bits[i];
    invlpg(WINDOW);
    prepare(read_code, 3), go("PAE, page with bit %x", (word)bits[i]);
    directories[0][WINDOW >> 21] |= 1ull << bits[i];
    wide_table[0] = SPARE | P | W | U;
    write_cr3((word)pdpt);
    prepare(read_code, 3), go("PAE, directory with bit %x", (word)bits[i]);
    directories[0][WINDOW >> 21] &= ~(1ull << bits[i]);
    write_cr3((word)pdpt);
  }
  for (int bit = 12; bit < 21; bit += 4) {
    directories[0][WINDOW >> 21] = SPARE | LARGE | P | W | U | 1u << bit;
    write_cr3((word)pdpt);
    prepare(read_code, 0), go("PAE, 2 MiB page with bit %x", (word)bit);
  }
  directories[0][WINDOW >> 21] = (u32)wide_table | P | W | U;
  write_cr3((word)pdpt);
  /* The four upper entries are read by MOV CR3 and checked then. */
  static const u8 upper[] = {1, 2, 5, 6, 7, 8, 39, 52, 63};
  for (int i = 0; i < 9; i++) {
    pdpt[3] = (u32)directories[3] | P | 1ull << upper[i];
    prepare(load_cr3, 0), in.ax = (word)pdpt, go("PAE, upper entry with bit %x", (word)upper[i]);
    pdpt[3] = 1ull << upper[i];
    prepare(load_cr3, 0), in.ax = (word)pdpt, go("PAE, absent upper entry with bit %x", (word)upper[i]);
  }
  pdpt[3] = 0;
  write_cr3((word)pdpt);
  prepare(read_code, 0), in.si = 0xc0000000, go("PAE, absent upper entry");
  prepare(write_code, 3), in.si = 0xc0000000, go("PAE, absent upper entry, ring 3");
  pdpt[3] = (u32)directories[3] | P;
  directories[3][0] = SPARE | LARGE | P | W;
  prepare(read_code, 0), in.si = 0xc0000000, go("PAE, upper entry changed");
  invlpg(0xc0000000);
  prepare(read_code, 0), in.si = 0xc0000000, go("PAE, upper entry changed, INVLPG");
  write_cr3((word)pdpt);
  prepare(read_code, 0), in.si = 0xc0000000, go("PAE, upper entry changed, MOV CR3");
  prepare(load_cr4, 0), in.ax = read_cr4() | CR4_PGE, in.cx = read_cr4(), go("PAE, PGE");
  pdpt[3] |= 2;
  prepare(load_cr4, 0), in.ax = read_cr4() | CR4_PGE, in.cx = read_cr4(), go("PAE, PGE with a bad upper entry");
  prepare(load_cr0, 0), in.ax = read_cr0() & ~(word)CR0_WP, in.cx = read_cr0(), go("PAE, WP with a bad upper entry");
  prepare(load_cr0, 0), in.ax = cr0, in.cx = read_cr0(), go("PAE, paging on with a bad upper entry");
  write_cr0(cr0);
}

int main(void) {
  cr0 = read_cr0();
  cr4 = read_cr4();
  two_levels();
  pae();
  return 0;
}
