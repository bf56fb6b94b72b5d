/** Virtual interrupts (xen/xen.h). */
export const Virq = { TIMER: 0, DEBUG: 1, CONSOLE: 2, DOM_EXC: 3, XENOPROF: 7, ARGO: 11, XENPMU: 13 } as const
/** NR_VIRQS */
export const VIRQS = 24

/** Bound for the whole domain, on vCPU 0; the others are each vCPU's own. */
export const isGlobalVirq = (virq: number): boolean =>
  virq !== Virq.TIMER && virq !== Virq.DEBUG && virq !== Virq.XENOPROF && virq !== Virq.XENPMU
