/** Which handlers run inline in the dispatch loop. */

const patterns = [
  /^(mov|add|sub|and|or|xor|cmp|test)\.(8|32|64)\.[rbxd]/,
  /^(lea|push|pop|movzx|movsx8|movsx16|movsxd|inc|dec|neg|not|nop|leave|mov_full)\.(32|64)\.[rbxd]/,
  /^(jmp|call|j[a-z]+)\.(32|64)\.[po]/,
  /^(ret|jmp_indirect|call_indirect)\.(32|64)\.[rbxd](64|32)/,
]

/** True for a handler key that the dispatch loop should hold. */
export function isHot(key: string): boolean { return patterns.some((p) => p.test(key)) }
