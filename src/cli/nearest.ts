/** "Did you mean ...?": the names that are nearest to a mistyped one. */

/** Edit distance where a swap of neighbours counts as one edit (optimal string alignment). */
export function distance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let best = Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1))
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) best = Math.min(best, beforeLast[column - 2]! + 1)
      current.push(best)
    }
    beforeLast = last
    last = current
  }
  return last[b.length]!
}

/** The names within a third of the word's length (at least two edits), or that the word begins; nearest first. */
export function nearest(word: string, names: Iterable<string>): string[] {
  const wanted = word.toLowerCase()
  const limit = Math.max(2, Math.floor(wanted.length / 3))
  return [...names]
    .map((name) => ({ name, edits: name.toLowerCase().startsWith(wanted) ? 0 : distance(wanted, name.toLowerCase()) }))
    .filter(({ name, edits }) => edits <= limit && edits < name.length)
    .sort((a, b) => a.edits - b.edits)
    .slice(0, 3)
    .map(({ name }) => name)
}

/** `unknown processor model 'foo'; did you mean ...?`, or all names if none is near. */
export function unknownName(what: string, word: string, names: readonly string[]): string {
  const near = nearest(word, names)
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `there are: ${names.join(', ')}`
  return `unknown ${what} '${word}'; ${hint}`
}
