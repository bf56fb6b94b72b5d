import { InputError } from '../errors.ts'

/** A snapshot that cannot be restored: another version's, damaged, or none at all. The message says which. */
export class SnapshotError extends InputError {}
