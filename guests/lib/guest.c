/* What 32-bit and 64-bit test kernels share: output, the start of pieces of code and the report of their end. */
#include <stdarg.h>
#include "guest.h"

#ifndef CONSOLE_PORT
#define CONSOLE_PORT 0x3f8 /* COM1 */
#endif
#define ARITHMETIC 0x8d5

struct frame in, out;
u32 in_data;
word out_cr2;
u16 out_ds, out_es, out_fs, out_gs, out_handler_ss;
word out_handler_flags, out_frame;
int show;
int (*hook)(struct frame *);
void (*runner)(struct frame *);
_Noreturn void run_end(void);

static void put(char c) { outb(CONSOLE_PORT, c); }

static void put_hex(word value) {
  int shift = sizeof(word) * 8 - 4;
  while (shift > 0 && value >> shift == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) put("0123456789abcdef"[value >> shift & 15]);
}

/* An address in the test kernel as a place that does not depend on the compiler. */
static void put_value(word value) {
  static const struct {
    const char *name;
    const u8 *start, *end;
  } places[] = {
      {"code", code_start, code_end},
      {"gdt", (u8 *)gdt, gdt_end},
      {"tss", (u8 *)tss, (u8 *)tss + TSS_SIZE},
      {"kernel stack", kernel_stack - STACK_SIZE, kernel_stack + 1},
      {"user stack", user_stack - STACK_SIZE, user_stack + 1},
      {"trap stack", trap_stack - STACK_SIZE, trap_stack + 1},
      {"trap stack 2", trap_stack2 - STACK_SIZE, trap_stack2 + 1},
  };
  for (unsigned i = 0; i < sizeof places / sizeof *places; i++)
    if (value >= (word)places[i].start && value < (word)places[i].end) {
      print("%s+%x", places[i].name, value - (word)places[i].start);
      return;
    }
  if (value >= (word)image_start && value < (word)image_end) print("image");
  else put_hex(value);
}

static void put_list(const char *format, va_list list) {
  for (; *format; format++) {
    if (*format != '%') {
      put(*format);
      continue;
    }
    switch (*++format) {
    case 's':
      for (const char *s = va_arg(list, const char *); *s; s++) put(*s);
      break;
    case 'x':
      put_hex(va_arg(list, word));
      break;
    case 'p':
      put_value(va_arg(list, word));
      break;
    case 'd':
      put_hex(va_arg(list, int));
    }
  }
}

/* No interrupts but those that a test asks for. */
void mask_pics(void) {
  outb(0x21, 0xff);
  outb(0xa1, 0xff);
}

void print(const char *format, ...) {
  va_list list;
  va_start(list, format);
  put_list(format, list);
  va_end(list);
}

/* Called by the stubs. */
void trap(struct frame *frame) {
  word cr2;
  asm volatile("mov %%cr2, %0" : "=r"(cr2));
  out_cr2 = cr2;
#ifdef __x86_64__
  asm volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3; mov %%ss, %4"
               : "=rm"(out_ds), "=rm"(out_es), "=rm"(out_fs), "=rm"(out_gs), "=rm"(out_handler_ss));
#endif
  asm volatile("pushf; pop %0" : "=r"(out_handler_flags));
  out_frame = (word)&frame->ip;
  if (hook && hook(frame)) return;
  out = *frame;
  run_end();
}

static void start(const void *code, u16 cs, u16 ss, u8 *stack) {
  in = (struct frame){.ip = (word)code, .cs = cs, .ss = ss, .sp = (word)stack, .flags = 2};
  hook = 0;
  runner = run;
}

void kernel(const void *code) {
  start(code, KERNEL_CS, KERNEL_DS, kernel_stack);
  in_data = KERNEL_DS;
}

void user(const void *code) {
  start(code, sizeof(word) == 8 ? USER_CS64 : USER_CS32, USER_DS, user_stack);
  in_data = USER_DS;
}

static int has_error(word vector) { return (0x60227d00u >> vector & 1) && vector < 32; }

/* Near its start a value is printed as a difference. */
static void put_relative(const char *name, word value, word start) {
  word up = value - start, down = start - value;
  if (up < STACK_SIZE) print(" %s+%x", name, up);
  else if (down < STACK_SIZE) print(" %s-%x", name, down);
  else print(" %s=%p", name, value);
}

static void put_end(void) {
  static const char *const names[] = {"ax", "cx", "dx", "bx", 0,     "bp",  "si",  "di",
                                      "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
  print("v=%x", out.vector);
  if (has_error(out.vector) && runner == run) print(" e=%x", out.error);
  if (out.vector == 14) print(" cr2=%p", out_cr2);
  put_relative("ip", out.ip, in.ip);
  if (out.sp != in.sp) put_relative("sp", out.sp, in.sp);
  if (out.cs != in.cs) print(" cs=%x", out.cs);
  if (out.ss != in.ss) print(" ss=%x", out.ss);
  if ((out.flags ^ in.flags) & ~FLAG_RF) print(" fl=%x", out.flags & ~FLAG_RF);
  for (int i = 0; i < REGISTERS; i++)
    if (i != 4 && out.gpr[i] != in.gpr[i]) print(" %s=%p", names[i], out.gpr[i]);
  if (show & SHOW_SEGMENTS) print(" ds=%x es=%x fs=%x gs=%x", (word)out_ds, (word)out_es, (word)out_fs, (word)out_gs);
  if (show & SHOW_HANDLER) print(" handler fl=%x ss=%x frame=%p", out_handler_flags & ~ARITHMETIC, (word)out_handler_ss, out_frame);
  if (show & SHOW_RF) print(" rf=%d", (int)(out.flags >> 16 & 1));
}

void go(const char *name, ...) {
  runner(&in);
  print("\n");
  va_list list;
  va_start(list, name);
  put_list(name, list);
  va_end(list);
  print(": ");
  put_end();
}
