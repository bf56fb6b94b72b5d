/**
 * The page of hypercalls that older PV kernels ask for (xen/arch/x86/pv/hypercall.c): 32 bytes for each number, the
 * rest breakpoints. The one for iret is jumped to and does not return.
 */
const STUBS = 128
const STUB = 32
const IRET = 23

/** push rcx, push r11 ... mov eax, number; syscall ... pop r11, pop rcx, ret */
const number = (n: number) => [0xb8, n, 0, 0, 0]
const SYSCALL = [0x0f, 0x05]

const stub64 = (n: number): number[] =>
  n === IRET
    ? [0x51, 0x41, 0x53, 0x50, ...number(n), ...SYSCALL]
    : [0x51, 0x41, 0x53, ...number(n), ...SYSCALL, 0x41, 0x5b, 0x59, 0xc3]

/** INT 0x82, which changes nothing but EAX. */
const INT82 = [0xcd, 0x82]

/** iret's begins with EAX as a part of its frame. */
const stub32 = (n: number): number[] => (n === IRET ? [0x50, ...number(n), ...INT82] : [...number(n), ...INT82, 0xc3])

export function hypercallPage(bits: 32 | 64): Uint8Array {
  const page = new Uint8Array(4096).fill(0xcc)
  for (let n = 0; n < STUBS; n++) {
    page.set(bits === 64 ? stub64(n) : stub32(n), n * STUB)
  }
  return page
}
