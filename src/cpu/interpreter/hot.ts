/** Which handlers run inline in the dispatch loop. */

/** True for a handler key that the dispatch loop should hold. */
export function isHot(_key: string): boolean { return false }
