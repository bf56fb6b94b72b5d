/** What the commands of memory_op have in common. */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno } from '../errno.ts'

/** Above them, a command's word counts the extents that are done: where a long operation goes on. */
export const COMMAND_BITS = 6

/** The guest names itself. */
export const isSelf = (dom: number): boolean => dom === DOMID.SELF || dom === DOMU
/** What a domain gets that names another one. */
export const other = (dom: number): number => (dom === DOM0 ? Errno.EPERM : Errno.ESRCH)
