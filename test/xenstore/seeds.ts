/** Sequences that are compared with xenstored: which, and how many requests in each. */
export const SEEDS = Array.from({ length: 60 }, (_, i) => i + 1)
export const COUNT = 500
