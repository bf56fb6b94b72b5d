/** Xen's error numbers (xen/errno.h). A hypercall answers them negative. */
const numbers = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
  EDOM: 33,
  ERANGE: 34,
  ENOSYS: 38,
  ENODATA: 61,
  ETIME: 62,
  EOVERFLOW: 75,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  ENOBUFS: 105,
} as const

export type ErrorName = keyof typeof numbers

/** Answers by name: `Errno.EINVAL` is -22. */
export const Errno = Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, -number])) as {
  readonly [Name in ErrorName]: number
}

const names = new Map<number, ErrorName>(Object.entries(numbers).map(([name, number]) => [-number, name as ErrorName]))

/** The name of an answer that is an error. */
export const errorName = (answer: number): ErrorName | undefined => names.get(answer)
