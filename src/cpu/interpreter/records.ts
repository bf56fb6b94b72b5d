/** Facts about record streams that the decoder and the interpreter share. */

/** Longest straight line without a budget check; the decoder puts a `check` after so many records. */
export const MAX_STRAIGHT = 64

/** run() leaves when the budget is at most this: two straight lines and the records between them. */
export const SLICE_MARGIN = 160
