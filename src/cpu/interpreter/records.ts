/** Facts about record streams that the decoder and the interpreter share. */

/** Longest straight line without a budget check; the decoder puts a `check` after so many records. */
export const MAX_STRAIGHT = 64

/** run() leaves when the budget is at most this: two straight lines and the records between them. */
export const SLICE_MARGIN = 160

/** A region is entered with more than this left, so that it can do something before it must leave. */
export const REGION_MARGIN = 180
