/*
 * Test kernels: pieces of code (CODE) run with the registers in `in` until an exception or interrupt ends them; `out`
 * has the registers then, and `go` prints one line about it. INT3, at the end of each piece, is the normal end.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
/* A general register. */
typedef unsigned long word;

#ifdef __x86_64__
#define REGISTERS 16
#define DEFAULT_BITS "64"
#else
#define REGISTERS 8
#define DEFAULT_BITS "32"
#endif

/* The order is that of the register numbers, then what start64.S and start32.S push. */
struct frame {
  union {
    word gpr[REGISTERS];
    struct {
      word ax, cx, dx, bx, unused, bp, si, di;
#ifdef __x86_64__
      word r8, r9, r10, r11, r12, r13, r14, r15;
#endif
    };
  };
  word vector, error, ip, cs, flags, sp, ss;
};

/* What a piece of code starts with. */
extern struct frame in;
/* DS and ES; in 64-bit mode they are what the test kernel has. */
extern u32 in_data;
/* How it ended. */
extern struct frame out;
extern word out_cr2;
/* Segment registers, flags and the address of the frame, as the handler found them. */
extern u16 out_ds, out_es, out_fs, out_gs, out_handler_ss;
extern word out_handler_flags, out_frame;

/* What `go` prints besides what has changed. */
#define SHOW_SEGMENTS 1
#define SHOW_HANDLER 2
#define SHOW_RF 4
extern int show;

/* Called with every exception; after a non-zero answer the piece goes on, with what the hook left in the frame. */
extern int (*hook)(struct frame *);

#define CODE(name, text)                                                                     \
  extern const u8 name[];                                                                    \
  asm(".pushsection .code, \"ax\", @progbits\n.p2align 4\n.globl " #name "\n" #name ":\n" text \
      "\n\tint3\n.popsection")

/* The same for code of 32 or 16 bits. */
#define CODE32(name, text) CODE(name, ".code32\n" text "\nint3\n.code" DEFAULT_BITS)
#define CODE16(name, text) CODE(name, ".code16\n" text "\nint3\n.code" DEFAULT_BITS)

/* `in` for code in ring 0 or 3: flat segments, a stack of its own, other registers 0. */
void kernel(const void *code);
void user(const void *code);
/* Runs it; begins a line with the name and what became of it. What is printed next is added to the line. */
void go(const char *name, ...);
void run(struct frame *);
/* What `go` runs it with: `run`, or something else after `real`. */
extern void (*runner)(struct frame *);
#ifndef __x86_64__
/* `in` for 16-bit code in real mode, at 1000:0. Exceptions have no error codes there. */
void real(const void *code);
#define REAL_SS 0x2000
#define REAL_DS 0x3000
#define REAL_ES 0x4000
#endif

/* %s, %x and %p (words), %d; %p names places in the test kernel. */
void print(const char *format, ...);

void set_gate(int vector, word handler, u16 selector, u8 type, u8 ist);
/* The default: interrupt gates to `trap`, open to ring 3 for INT3, INTO and from 32 on. */
void reset_idt(void);
extern u8 stubs[];
extern u64 gdt[];
extern u8 gdt_end[];
extern u32 tss[];
/* The tops of stacks of a page. */
extern u8 kernel_stack[], user_stack[], trap_stack[], trap_stack2[];
#define STACK_SIZE 0x1000
#define TSS_SIZE 0x2100
extern u8 image_start[], image_end[];
/* The pieces of code lie in pages that ring 3 may use. */
extern u8 code_start[], code_end[];

struct __attribute__((packed)) table { u16 limit; word base; };
extern struct table gdt_table, idt_table;

#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define USER_CS32 0x23
#define USER_DS 0x2b
#define USER_CS64 0x33
#define TSS_SELECTOR 0x38
/* Descriptors from here on are for the tests. */
#define FREE 0x48
#define FREE_ENTRIES 16

#define FLAG_TF 0x100
#define FLAG_IF 0x200
#define FLAG_DF 0x400
#define FLAG_OF 0x800
#define FLAG_NT 0x4000
#define FLAG_RF 0x10000
#define FLAG_AC 0x40000
#define FLAG_ID 0x200000
#define IOPL(n) ((n) << 12)

/* A descriptor: type and attributes as in bits 40-47 and 52-55. */
static inline u64 descriptor(u32 base, u32 limit, u16 attributes) {
  return (u64)(limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(attributes & 0xff) << 40 |
         (u64)(limit >> 16 & 15) << 48 | (u64)(attributes >> 8 & 15) << 52 | (u64)(base >> 24) << 56;
}

static inline void outb(u16 port, u8 value) { asm volatile("outb %0, %1" : : "a"(value), "d"(port)); }
static inline word read_cr0(void) { word v; asm volatile("mov %%cr0, %0" : "=r"(v)); return v; }
static inline word read_cr3(void) { word v; asm volatile("mov %%cr3, %0" : "=r"(v)); return v; }
static inline word read_cr4(void) { word v; asm volatile("mov %%cr4, %0" : "=r"(v)); return v; }
static inline void write_cr0(word v) { asm volatile("mov %0, %%cr0" : : "r"(v) : "memory"); }
static inline void write_cr3(word v) { asm volatile("mov %0, %%cr3" : : "r"(v) : "memory"); }
static inline void write_cr4(word v) { asm volatile("mov %0, %%cr4" : : "r"(v) : "memory"); }
static inline void invlpg(word address) { asm volatile("invlpg (%0)" : : "r"(address) : "memory"); }
static inline u64 rdmsr(u32 index) {
  u32 low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
  return (u64)high << 32 | low;
}
static inline void wrmsr(u32 index, u64 value) {
  asm volatile("wrmsr" : : "a"((u32)value), "d"((u32)(value >> 32)), "c"(index) : "memory");
}

#define CR0_PE 1
#define CR0_MP 2
#define CR0_EM 4
#define CR0_TS 8
#define CR0_NE 0x20
#define CR0_WP 0x10000
#define CR0_AM 0x40000
#define CR0_NW 0x20000000
#define CR0_CD 0x40000000
#define CR0_PG 0x80000000
#define CR4_TSD 4
#define CR4_DE 8
#define CR4_PSE 0x10
#define CR4_PAE 0x20
#define CR4_PGE 0x80
#define CR4_PCE 0x100
#define CR4_UMIP 0x800
#define CR4_FSGSBASE 0x10000
#define CR4_PCIDE 0x20000
#define CR4_OSXSAVE 0x40000
#define CR4_SMEP 0x100000
#define CR4_SMAP 0x200000
#define EFER 0xc0000080
#define EFER_NXE 0x800

#ifdef __x86_64__
/* Pages: 4 KiB ones for the first 8 MiB, identity. The window is for the tests: 512 pages, empty at first. */
#define WINDOW 0x800000ul
#define PAGE(i) (WINDOW + (i) * 4096ul)
/* 2 MiB of RAM for the tests, 2 MiB aligned. */
#define SPARE 0x600000ul
#define P 1ul
#define W 2ul
#define U 4ul
#define A 0x20ul
#define D 0x40ul
#define LARGE 0x80ul
#define G 0x100ul
#define NX (1ul << 63)
extern u64 pml4[512], pdpt[512], pd[512], low_tables[2048], window[512];
void map(int page, word frame, word flags);
#endif
