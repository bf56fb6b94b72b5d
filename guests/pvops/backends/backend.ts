/** What a hypervisor's backend is: how it is found, and which operations it does its own way. */
import type { Builder } from '../builder.ts'

export interface Override {
  readonly op: string
  /** Label of the function; undefined: there is nothing to do. */
  readonly to: string | undefined
  /** Only if this bit of word `word` of `features` is set. */
  readonly needs?: readonly [word: number, bit: number]
}

export interface Backend {
  /** Labels begin with it: `kvm.probe` gives 1 in AL if this is the hypervisor, and fills `kvm.features` in. */
  readonly name: string
  /** What the kernel says that it runs on. */
  readonly title: string
  /** It exists for this code only. */
  readonly bits?: 32 | 64
  overrides(k: Builder): readonly Override[]
  /** Text of the functions and of what they keep. */
  code(k: Builder): string
}

/** Words of a signature as CPUID 0x40000000 gives them in EBX, ECX, EDX. */
function words(signature: string): number[] {
  const view = new DataView(new TextEncoder().encode(signature.padEnd(12, '\0')).buffer)
  return [0, 4, 8].map((at) => view.getUint32(at, true))
}

/** AL is 1 if CPUID 0x40000000 has the signature; then what `found` does has been done. XBX must be kept in `found`. */
export function probeBySignature(name: string, signature: string, found: string): string {
  const [ebx, ecx, edx] = words(signature)
  return `
${name}.probe:
  push xbx
  mov eax, 1
  xor ecx, ecx
  cpuid
  bt ecx, 31
  jnc .${name}_none
  mov eax, 0x40000000
  cpuid
  cmp ebx, ${ebx}
  jne .${name}_none
  cmp ecx, ${ecx}
  jne .${name}_none
  cmp edx, ${edx}
  jne .${name}_none
${found}
  pop xbx
  mov al, 1
  ret
.${name}_none:
  pop xbx
  mov al, 0
  ret
`
}

/** XAX = the address of this CPU's part, `size` bytes each (a power of two), of an area. */
export const ownPart = (area: string, size: number): string =>
  `call cpu_number\nshl eax, ${Math.log2(size)}\nadd xax, ${area}`

/** WRMSR of an address in XAX, with `low` set in it. */
export const writeAddress = (k: Builder, msr: number, low = 0): string =>
  `${low ? `or xax, ${low}\n` : ''}${k.long ? 'mov rdx, rax\nshr rdx, 32' : 'xor edx, edx'}\nmov ecx, ${msr}\nwrmsr`
