/*
 * Floating point: the C library's functions, conversions and printing over many values in all rounding modes. A line
 * holds what was done, a digest of the results' bits and the exceptions that were raised. With the name of a line as
 * argument it prints every result of that line instead.
 */
#include <complex.h>
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *wanted;
static uint64_t digest;
static char label[80];

static void begin(const char *name, const char *kind, int mode) {
  static const char *const modes[] = {"nearest", "down", "up", "zero"};
  snprintf(label, sizeof label, "%s %s %s", name, kind, modes[mode]);
  digest = 0xcbf29ce484222325;
  feclearexcept(FE_ALL_EXCEPT);
}

static void add(const void *bytes, size_t size) {
  const unsigned char *byte = bytes;
  for (size_t i = 0; i < size; i++) digest = (digest ^ byte[i]) * 0x100000001b3;
  if (wanted && !strcmp(wanted, label)) {
    for (size_t i = size; i-- > 0;) printf("%02x", byte[i]);
    printf(" exceptions %x\n", fetestexcept(FE_ALL_EXCEPT));
  }
}

static void end(void) {
  int raised = fetestexcept(FE_ALL_EXCEPT);
  if (!wanted) printf("%-28s %016llx %02x\n", label, (unsigned long long)digest, raised);
}

/* NaNs count by being NaN with their sign and payload as well: the bits of the result are compared. */
static void addDouble(double x) { add(&x, sizeof x); }
static void addFloat(float x) { add(&x, sizeof x); }
static void addLong(long double x) { add(&x, 10); }

static uint64_t state = 88172645463325252;
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

enum { COUNT = 300 };
static double doubles[COUNT];
static float floats[COUNT];
static long double longs[COUNT];

static void fill(void) {
  static const double special[] = {0.0, -0.0, 1, -1, 0.5, -0.5, 2, 3, 10, 1e-300, 1e300, 4.9e-324, -4.9e-324,
                                   2.2250738585072014e-308, 2.2250738585072009e-308, 1.7976931348623157e308, INFINITY,
                                   -INFINITY, NAN, 1e22, 0x1p52, 0x1p53, 0x1.fffffffffffffp52, 709.78, -745.13, 88.72,
                                   M_PI, M_PI_2, M_PI_4, M_E, 0.1, 1e5, 12345.678, 0x1p31, 0x1p63, 0x1p-1022};
  enum { SPECIAL = sizeof special / sizeof *special };
  for (int i = 0; i < COUNT; i++) {
    uint64_t bits = next();
    double x;
    if (i < SPECIAL) x = special[i];
    else if (i % 4 == 0) memcpy(&x, &bits, 8);
    else if (i % 4 == 1) x = (double)(int64_t)bits * 0x1p-60;
    else if (i % 4 == 2) x = (double)(int64_t)(bits >> 20) * 0x1p-36;
    else x = ldexp((double)(int64_t)bits, (int)(bits % 200) - 160);
    doubles[i] = x;
    floats[i] = (float)x;
    longs[i] = i % 2 ? x : x * (1 + 0x1p-60L * (bits & 15));
  }
}

#define UNARY(kind, add, values, f)                                                                                    \
  for (int mode = 0; mode < 4; mode++) {                                                                               \
    fesetround(modes[mode]);                                                                                           \
    begin(#f, kind, mode);                                                                                             \
    for (int i = 0; i < COUNT; i++) add(f(values[i]));                                                                 \
    end();                                                                                                             \
  }
#define BINARY(kind, add, values, f)                                                                                   \
  for (int mode = 0; mode < 4; mode++) {                                                                               \
    fesetround(modes[mode]);                                                                                           \
    begin(#f, kind, mode);                                                                                             \
    for (int i = 0; i < COUNT; i++)                                                                                    \
      for (int j = i % 7; j < COUNT; j += 29) add(f(values[i], values[j]));                                            \
    end();                                                                                                             \
  }
#define BOTH(name) UNARY("double", addDouble, doubles, name) UNARY("float", addFloat, floats, name##f)
#define BOTH2(name) BINARY("double", addDouble, doubles, name) BINARY("float", addFloat, floats, name##f)

static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};

static double plus(double a, double b) { return a + b; }
static double minus(double a, double b) { return a - b; }
static double times(double a, double b) { return a * b; }
static double over(double a, double b) { return a / b; }
static float plusf(float a, float b) { return a + b; }
static float minusf(float a, float b) { return a - b; }
static float timesf(float a, float b) { return a * b; }
static float overf(float a, float b) { return a / b; }
static long double plusl(long double a, long double b) { return a + b; }
static long double minusl(long double a, long double b) { return a - b; }
static long double timesl(long double a, long double b) { return a * b; }
static long double overl(long double a, long double b) { return a / b; }
static double compare(double a, double b) { return (a < b) + 2 * (a <= b) + 4 * (a == b) + 8 * !!isunordered(a, b); }
static float comparef(float a, float b) { return (a < b) + 2 * (a <= b) + 4 * (a == b) + 8 * !!isunordered(a, b); }
static long double comparel(long double a, long double b) { return (a < b) + 2 * (a <= b) + 4 * (a == b); }
static double toFloat(double x) { return (float)x; }
static double toInt(double x) { return (int32_t)x; }
static double toLong(double x) { return (double)(int64_t)x; }
static double toUnsigned(double x) { return (double)(uint64_t)(x < 0 ? -x : x); }
static double roundToLong(double x) { return (double)llrint(x) + (double)lrintf((float)x) + (double)llround(x); }
static double throughLong(double x) { return (double)((long double)x / 3); }
static long double longToDouble(long double x) { return (double)x; }
static long double longToFloat(long double x) { return (float)x; }
static long double longToInteger(long double x) { return llrintl(x); }
static double parts(double x) {
  int exponent;
  double whole, fraction = modf(x, &whole), mantissa = frexp(x, &exponent);
  return fraction + whole / 3 + mantissa + exponent + logb(x) + scalbn(x, 3);
}
static double complexes(double a, double b) {
  double complex z = csqrt(a + b * I) * (a - 2 * I) / (b + 3 * I);
  return creal(z) - cimag(z);
}
static double fused(double a, double b) { return fma(a, b, -a) + fmaf(a, b, 1); }

int main(int argc, char **argv) {
  if (argc > 1) wanted = argv[1];
  fill();
  BOTH2(plus) BOTH2(minus) BOTH2(times) BOTH2(over) BOTH2(compare) BOTH2(fmod) BOTH2(remainder) BOTH2(hypot)
  BOTH2(pow) BOTH2(atan2) BOTH2(fmax) BOTH2(fdim) BOTH2(nextafter) BOTH2(copysign)
  BINARY("double", addDouble, doubles, fused) BINARY("double", addDouble, doubles, complexes)
  BOTH(sqrt) BOTH(sin) BOTH(cos) BOTH(tan) BOTH(asin) BOTH(acos) BOTH(atan) BOTH(sinh) BOTH(cosh) BOTH(tanh)
  BOTH(asinh) BOTH(acosh) BOTH(atanh) BOTH(exp) BOTH(exp2) BOTH(expm1) BOTH(log) BOTH(log2) BOTH(log10) BOTH(log1p)
  BOTH(cbrt) BOTH(erf) BOTH(erfc) BOTH(lgamma) BOTH(tgamma) BOTH(floor) BOTH(ceil) BOTH(trunc) BOTH(round) BOTH(rint)
  BOTH(nearbyint) BOTH(j0) BOTH(y1)
  UNARY("double", addDouble, doubles, toFloat) UNARY("double", addDouble, doubles, toInt)
  UNARY("double", addDouble, doubles, toLong) UNARY("double", addDouble, doubles, toUnsigned)
  UNARY("double", addDouble, doubles, roundToLong) UNARY("double", addDouble, doubles, throughLong)
  UNARY("double", addDouble, doubles, parts)
  BINARY("long double", addLong, longs, plusl) BINARY("long double", addLong, longs, minusl)
  BINARY("long double", addLong, longs, timesl) BINARY("long double", addLong, longs, overl)
  BINARY("long double", addLong, longs, comparel) BINARY("long double", addLong, longs, fmodl)
  BINARY("long double", addLong, longs, remainderl) BINARY("long double", addLong, longs, nextafterl)
  UNARY("long double", addLong, longs, sqrtl) UNARY("long double", addLong, longs, rintl)
  UNARY("long double", addLong, longs, floorl) UNARY("long double", addLong, longs, truncl)
  UNARY("long double", addLong, longs, roundl) UNARY("long double", addLong, longs, logbl)
  UNARY("long double", addLong, longs, longToDouble) UNARY("long double", addLong, longs, longToFloat)
  UNARY("long double", addLong, longs, longToInteger)

  static const char *const formats[] = {"%a", "%.17g", "%g", "%.3e", "%.0f", "%.20f", "%015.4f", "%+.1a"};
  for (int mode = 0; mode < 4; mode++) {
    fesetround(modes[mode]);
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
      begin(formats[f], "printf", mode);
      for (int i = 0; i < COUNT; i++) {
        char text[400], format[12];
        add(text, snprintf(text, sizeof text, formats[f], doubles[i]));
        addDouble(strtod(text, 0));
        addFloat(strtof(text, 0));
        addLong(strtold(text, 0));
        size_t length = strlen(formats[f]);
        memcpy(format, formats[f], length - 1);
        format[length - 1] = 'L';
        format[length] = formats[f][length - 1];
        format[length + 1] = 0;
        if (fabsl(longs[i]) < 1e300L) add(text, snprintf(text, sizeof text, format, longs[i]));
      }
      end();
    }
  }
  return 0;
}
