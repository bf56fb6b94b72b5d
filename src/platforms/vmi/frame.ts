/** What goes in and comes out of a call that the host does. */
/** What a call passes: the registers as they are, and 32-bit words of the stack behind the return address. */
export interface CallFrame {
  readonly eax: number
  readonly edx: number
  readonly ecx: number
  readonly stack: readonly [number, number]
}

/** A number is EAX, a bigint EDX:EAX. The text of an error is for who watches: these calls cannot tell the guest. */
export type CallResult = number | bigint | { readonly error: string } | undefined
