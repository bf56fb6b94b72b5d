/**
 * Transcendental functions in BigInt fixed point, as plainly as possible: the measure of the x87's own. A number is an
 * integer in units of 2^-BITS.
 */
export const BITS = 400n
export const ONE = 1n << BITS

const multiply = (a: bigint, b: bigint): bigint => (a * b) >> BITS
const divide = (a: bigint, b: bigint): bigint => (a << BITS) / b

/** Sum of `first`, then each term made from the one before and its number, until they vanish. */
function sum(first: bigint, next: (term: bigint, k: bigint) => bigint): bigint {
  let total = 0n
  for (let term = first, k = 1n; term !== 0n && term !== -1n; k++) {
    total += term
    term = next(term, k)
  }
  return total
}

/** Sum of x^(2k + 1) / (2k + 1), with alternating signs for the arctangent. */
function odd(x: bigint, sign: bigint): bigint {
  const square = multiply(x, x)
  let total = 0n
  for (
    let power = x, k = 1n, s = 1n;
    power !== 0n && power !== -1n;
    power = multiply(power, square), k += 2n, s *= sign
  )
    total += (s * power) / k
  return total
}

const LN2 = 2n * odd(ONE / 3n, 1n)
export const PI = 4n * (4n * odd(ONE / 5n, -1n) - odd(ONE / 239n, -1n))
/** The 66-bit pi of the hardware's argument reduction (SDM Vol. 1 8.3.8). */
const PI66 = 0xc90fdaa22168c234cn << (BITS - 66n)

export function powerOf2Minus1(x: bigint): bigint {
  const y = multiply(x, LN2)
  return sum(y, (term, k) => multiply(term, y) / (k + 1n))
}

/** log2 of a number greater than 0. */
export function log2(x: bigint): bigint {
  let whole = 0n
  for (; x > (ONE * 3n) / 2n; x /= 2n) whole++
  for (; x < (ONE * 3n) / 4n; x *= 2n) whole--
  return whole * ONE + divide(2n * odd(divide(x - ONE, x + ONE), 1n), LN2)
}

/** What is left of `x` after the quarter turns nearest to it, and their number. */
function reduce(x: bigint): [bigint, bigint] {
  const quarter = PI66 / 2n
  const shifted = 2n * x + quarter
  let turns = shifted / (2n * quarter)
  if (turns * 2n * quarter > shifted) turns--
  return [x - turns * quarter, turns & 3n]
}

function sineSeries(x: bigint): bigint {
  const square = multiply(x, x)
  return sum(x, (term, k) => -multiply(term, square) / (2n * k * (2n * k + 1n)))
}

function cosineSeries(x: bigint): bigint {
  const square = multiply(x, x)
  return sum(ONE, (term, k) => -multiply(term, square) / (2n * k * (2n * k - 1n)))
}

export function sine(x: bigint): bigint {
  const [rest, turns] = reduce(x)
  const value = turns & 1n ? cosineSeries(rest) : sineSeries(rest)
  return turns & 2n ? -value : value
}

export function cosine(x: bigint): bigint {
  const [rest, turns] = reduce(x)
  const value = turns & 1n ? -sineSeries(rest) : cosineSeries(rest)
  return turns & 2n ? -value : value
}

export function tangent(x: bigint): bigint {
  return divide(sine(x), cosine(x))
}

function squareRoot(x: bigint): bigint {
  let r = BigInt(Math.floor(Math.sqrt(Number(x >> (BITS - 100n))))) << ((BITS - 100n) / 2n + BITS / 2n)
  r = r === 0n ? ONE : r
  for (let i = 0; i < 12; i++) r = (r + divide(x, r)) / 2n
  return r
}

/** atan(y / x) for positive x and y. */
export function angle(y: bigint, x: bigint): bigint {
  if (y > x) return PI / 2n - angle(x, y)
  let t = divide(y, x)
  let halvings = 0n
  for (; t > ONE / 16n; halvings++) t = divide(t, ONE + squareRoot(ONE + multiply(t, t)))
  return odd(t, -1n) << halvings
}
