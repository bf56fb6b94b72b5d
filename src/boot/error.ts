import { InputError } from '../errors.ts'

/** A kernel, initrd, command line or memory size that cannot be booted. The message is one line. */
export class BootError extends InputError {}
