/*
 * Xen's interface from inside an HVM guest, as far as it is not PVH's: the platform device's ports and configuration
 * space, Xen's pages in its memory, and events by an interrupt line. Output goes to port 0x12, the device model's log.
 */
#include "guest.h"

CODE(vmcall_sti, "vmcall\nsti\nnop\nnop\ncli");
CODE(sti_code, "sti\nnop\nnop\ncli");

#define SELF 0x7ff0
#define BUFFER (SPARE + 0x1000)
#define DEVICE (3 << 11)
#define IOAPIC 0xfec00000ul
#define LAPIC 0xfee00000ul
#define VECTOR 0x81

static volatile u32 *const buffer = (u32 *)BUFFER;
static volatile u64 *const wide = (u64 *)BUFFER;
static volatile u64 *const shared = (u64 *)PAGE(0);
static volatile u32 *const ioapic = (u32 *)PAGE(1);
static volatile u32 *const lapic = (u32 *)PAGE(2);

static word call(word number, word a0, word a1) {
  word result;
  asm volatile("vmcall" : "=a"(result) : "a"(number), "D"(a0), "S"(a1) : "memory");
  return result;
}
static void say(const char *name, word answer) { print("\n%s %x", name, answer); }

static u8 inb(u16 port) { u8 v; asm volatile("inb %1, %0" : "=a"(v) : "d"(port)); return v; }
static u16 inw(u16 port) { u16 v; asm volatile("inw %1, %0" : "=a"(v) : "d"(port)); return v; }
static u32 inl(u16 port) { u32 v; asm volatile("inl %1, %0" : "=a"(v) : "d"(port)); return v; }
static void outw(u16 port, u16 v) { asm volatile("outw %0, %1" : : "a"(v), "d"(port)); }
static void outl(u16 port, u32 v) { asm volatile("outl %0, %1" : : "a"(v), "d"(port)); }

static u32 config(int reg) { outl(0xcf8, 0x80000000 | DEVICE | reg); return inl(0xcfc); }
static void set_config(int reg, u32 v) { outl(0xcf8, 0x80000000 | DEVICE | reg); outl(0xcfc, v); }

static void fixed_ports(void) {
  say("magic", inw(0x10)), say("protocol", inb(0x12)), say("flags", inb(0x10));
  outw(0x12, 3), outl(0x10, 1), outw(0x10, 3);
  say("magic after unplugging", inw(0x10));
  say("nothing there", inl(0x10)), print(" %x %x", (word)inb(0x13), (word)inw(0x14));
  volatile u8 *rom = (u8 *)0xf0000;
  *rom = 1, outb(0x10, 0xff), *rom = 2;
  say("locked flags", inb(0x10)), print(" byte %d", (word)*rom);
  outb(0x10, 0), *rom = 3;
  say("open flags", inb(0x10)), print(" byte %d", (word)*rom);
}

static void pci(void) {
  say("id", config(0)), say("class", config(8)), say("command", config(4) & 0xffff), say("subsystem", config(0x2c));
  say("interrupt", config(0x3c) & 0xffff);
  u32 ports = config(0x10), memory = config(0x14);
  set_config(0x10, ~0u), set_config(0x14, ~0u);
  say("ports", ports), print(" size %x", (word)config(0x10)), say("memory", memory), print(" size %x", (word)config(0x14));
  set_config(0x10, 0xd001), set_config(0x14, memory);
  say("moved: there", inb(0xd000)), print(" not there %x", (word)inb(0xc000));
  set_config(0x10, ports);
  buffer[0] = SELF, buffer[1] = 0, wide[1] = 0, wide[2] = memory >> 12;
  say("shared_info in its memory", call(12, 7, BUFFER));
  map(0, memory & ~15u, P | W);
  print(" wall clock %s", ((u32 *)(PAGE(0) + 0xc00))[1] ? "known" : "unknown");
}

static void set_pin(int pin, u32 low) { ioapic[0] = 0x10 + 2 * pin, ioapic[4] = low; }
static u32 pin(int number) { ioapic[0] = 0x10 + 2 * number; return ioapic[4]; }

static word set_callback(u64 value) {
  buffer[0] = SELF, buffer[1] = 0, wide[1] = value;
  return call(34, 0, BUFFER);
}

static void line(void) {
  map(1, IOAPIC, P | W), map(2, LAPIC, P | W);
  ioapic[0] = 1;
  say("I/O APIC", ioapic[4]);
  say("callback by INTA of device 3", set_callback(1ull << 56 | DEVICE));
  buffer[0] = 0;
  call(32, 7, BUFFER);
  u32 port = buffer[1];
  say("bind_ipi", port);
  set_pin(28, 0x8000 | VECTOR);
  buffer[0] = port;
  kernel(vmcall_sti), in.ax = 32, in.di = 4, in.si = BUFFER, go("event");
  print(" pending %d pin %x", (word)(shared[0] & 0xff), (word)pin(28));
  lapic[0xb0 / 4] = 0;
  kernel(sti_code), go("the byte is still set");
  *(volatile u8 *)shared = 0, shared[1] = 0, shared[0x100] = 0, lapic[0xb0 / 4] = 0;
  kernel(sti_code), go("it is clear");
  print(" pin %x", (word)pin(28));
  set_pin(28, 0x10000), set_pin(5, VECTOR + 1);
  say("callback by GSI 5", set_callback(5));
  kernel(vmcall_sti), in.ax = 32, in.di = 4, in.si = BUFFER, buffer[0] = port, go("event");
  say("callback by GSI 48", set_callback(48));
}

int main(void) {
  fixed_ports();
  pci();
  set_gate(VECTOR, (word)stubs + VECTOR * 16, KERNEL_CS, 0x8e, 0);
  reset_idt();
  line();
  return 0;
}
