/** Numbers of Xen's that many of its parts name. */

/** Domain ids: the one with the backends, and this one. */
export const DOM0 = 0
export const DOMU = 1
/** What a guest may call itself, and others that are no domain (xen/xen.h). */
export const DOMID = { SELF: 0x7ff0, IO: 0x7ff1, XEN: 0x7ff2, COW: 0x7ff3, INVALID: 0x7ff4 } as const

/** Reasons of a shutdown (xen/sched.h). */
export const Shutdown = { POWEROFF: 0, REBOOT: 1, SUSPEND: 2, CRASH: 3, WATCHDOG: 4, SOFT_RESET: 5 } as const
