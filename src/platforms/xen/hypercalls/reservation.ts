/** What the commands of memory_op have in common. */
import { DOM0, DOMID, DOMU } from '../constants.ts'
import { Errno, type ErrorName } from '../errno.ts'
import type { Call } from './call.ts'

/** Above them, a command's word counts the extents that are done: where a long operation goes on. */
export const COMMAND_BITS = 6

/** The bits above the command, which 64-bit guests have 58 of. */
export const above = (call: Call): number => Math.floor(call.whole(0) / 2 ** COMMAND_BITS)

/** For commands that are never long: what is answered if there are such bits, before anything else. */
export const noBits =
  (error: ErrorName) =>
  (call: Call): number =>
    above(call) === 0 ? 0 : Errno[error]

/** The same where Xen reads a 32-bit guest's structure first: `run` has to look again. */
export const lateBits =
  (error: ErrorName, most = 0) =>
  (call: Call): number =>
    call.wide && above(call) > most ? Errno[error] : 0

/** The guest names itself. */
export const isSelf = (dom: number): boolean => dom === DOMID.SELF || dom === DOMU
/** What a domain gets that names another one. */
export const other = (dom: number): number => (dom === DOM0 ? Errno.EPERM : Errno.ESRCH)
/** Where Xen wants another domain, by its number: what a domU gets, which controls none. */
export const remote = (dom: number, dom0: number = Errno.EPERM): number => {
  if (dom === DOM0) return dom0
  return dom === DOMU ? Errno.EPERM : Errno.ESRCH
}
