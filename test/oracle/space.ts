/** The address space of a case: what native.c maps. Everything else is unmapped. */
export const Space = {
  DATA: 0x10000000, // read-write, not executable
  DATA_SIZE: 8192,
  READ_ONLY: 0x10002000, // not executable
  READ_ONLY_SIZE: 4096,
  CODE: 0x20000000, // read and execute, full of int3
  CODE_SIZE: 8192,
} as const

/** Byte image of the writable and the read-only pages before a case's own window is laid over it. */
export const background: Uint8Array = Uint8Array.from(
  { length: Space.DATA_SIZE + Space.READ_ONLY_SIZE },
  (_, i) => i * 0x9d + (i >> 8) * 7,
)
