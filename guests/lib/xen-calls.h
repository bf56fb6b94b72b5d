/*
 * Hypercalls of Xen one by one, with good input and with each kind of bad one: what guests of all kinds can ask. A line
 * has the name and what was answered, an error by its name.
 */
#pragma once

/* What the guest that uses this has: the instruction, frames, the console. */
long xen_call(unsigned long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
unsigned long frame_of(const volatile void *address);
void print(const char *format, ...);

#define SELF 0x7ff0u
#define DOM0 0u
/* No domain has this number. */
#define NOBODY 9u
/* No memory; an address of the hypervisor's; no frame. */
#ifdef __x86_64__
#define BAD 0x7ffffff000ul
#define XENS 0xffff800000000000ul
#define NO_FRAME (1ul << 40)
#else
#define BAD 0x7ffff000ul
#define XENS 0xf6000000ul
#define NO_FRAME (1ul << 28)
#endif
/* A vCPU that does not exist. */
#define NO_VCPU 77ul

/* The structure of the calls below; its pages are the guest's own. */
extern unsigned int words[1024], other_words[1024];
/*
 * It is filled with 32-bit words, then zeros. `QUAD`: a 64-bit value, `HALVES`: two 16-bit ones, `LONG`: a word of the guest's
 * width, as pointers are, `GAP`: what a 64-bit guest's structure has before one.
 */
void put(int count, const unsigned int *values);
#ifdef __x86_64__
#define QUAD(value) (unsigned int)(unsigned long)(value), (unsigned int)((unsigned long)(value) >> 32)
#define LONG(value) QUAD(value)
#define GAP 0,
#define PICK_WIDTH(wide, narrow) (wide)
#else
#define QUAD(value) (unsigned int)(unsigned long long)(value), (unsigned int)((unsigned long long)(value) >> 32)
#define LONG(value) (unsigned int)(value)
#define GAP
#define PICK_WIDTH(wide, narrow) (narrow)
#endif
#define HALVES(low, high) ((low) | (unsigned int)(high) << 16)
#define PUT(...) put(sizeof((unsigned int[]){__VA_ARGS__}) / sizeof(int), (unsigned int[]){__VA_ARGS__})

/* Writes the line; returns the answer. */
long told(const char *name, long answer);
#define CALL(name, number, a, b, c, d) \
  told(name, xen_call(number, (unsigned long)(a), (unsigned long)(b), (unsigned long)(c), (unsigned long)(d)))
/* A command with its structure, and with one that is not there. */
#define OP(name, number, command, ...) (PUT(__VA_ARGS__), CALL(name, number, command, words, 1, 0))
#define BAD_OP(name, number, command) CALL(name, number, command, BAD, 1, 0)
/* Arguments of 64 bits, of which 32-bit guests pass two words each. */
#ifdef __x86_64__
#define CALL64(name, number, a, b) CALL(name, number, a, b, 0, 0)
#else
#define CALL64(name, number, a, b) \
  CALL(name, number, (unsigned long long)(a), (unsigned long long)(a) >> 32, (unsigned long long)(b), (unsigned long long)(b) >> 32)
#endif
/* vcpu_op has the vCPU between. */
#define VCPU_OP(name, command, vcpu, ...) (PUT(__VA_ARGS__), CALL(name, 24, command, vcpu, words, 0))

/* The guest's own page that is given away and comes back. */
extern unsigned char moving_page[4096];
/* Where the first page of the grant table is. */
unsigned char *grant_table(void);

void ask_version(void);
void ask_memory(void);
void ask_vcpus(void);
void ask_scheduler(void);
void ask_events(void);
void ask_grants(void);
void ask_hvm(void);
void ask_refused(void);
void ask_multicalls(void);
/* Every port in use, the FIFO ABI, and everything closed: after it nothing is left of the guest's channels. */
void ask_all_ports(void);
