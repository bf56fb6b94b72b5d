/* SSE2, scalar and packed, and the x87 with all its 64 bits of precision. No results that depend on a library. */
#include "bench.h"
#include <emmintrin.h>
#include <string.h>

static uint64_t bits(double x) {
  uint64_t b;
  memcpy(&b, &x, 8);
  return b;
}

/* Packed double: a product of matrices. */
static uint64_t product(long n) {
  enum { N = 32 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = 1.0 / (i + j + 1), b[i][j] = i - j * 0.5, c[i][j] = 0;
  for (long r = 0; r < n; r++)
    for (int i = 0; i < N; i++)
      for (int k = 0; k < N; k++) {
        double x = a[i][k] + r * 1e-9;
        for (int j = 0; j < N; j++) c[i][j] = c[i][j] * 0.5 + x * b[k][j];
      }
  double sum = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) sum += c[i][j];
  return bits(sum);
}

/* Scalar double: products, sums and a comparison. */
static uint64_t mandelbrot(long n) {
  uint64_t sum = 0;
  for (long i = 0; i < n; i++) {
    double a = (i % 97) / 97.0 * 3 - 2, b = (i % 89) / 89.0 * 2 - 1, x = 0, y = 0;
    int k = 0;
    while (k < 100 && x * x + y * y < 4) {
      double t = x * x - y * y + a;
      y = 2 * x * y + b;
      x = t;
      k++;
    }
    sum = sum * 3 + k;
  }
  return sum;
}

/* Scalar double with roots and divisions: bodies that attract each other. */
static uint64_t bodies(long n) {
  enum { N = 5 };
  double p[N][3], v[N][3], m[N];
  for (int i = 0; i < N; i++) {
    m[i] = 1.0 / (i + 1);
    for (int k = 0; k < 3; k++) p[i][k] = i * (k + 1.5) - k * i * i * 0.25, v[i][k] = (i - k) * 0.125;
  }
  for (long r = 0; r < n; r++) {
    for (int i = 0; i < N; i++)
      for (int j = i + 1; j < N; j++) {
        double d[3], s = 0.01;
        for (int k = 0; k < 3; k++) d[k] = p[i][k] - p[j][k], s += d[k] * d[k];
        double root;
        __asm__("sqrtsd %1, %0" : "=x"(root) : "x"(s));
        double f = 0.001 / (s * root);
        for (int k = 0; k < 3; k++) v[i][k] -= d[k] * m[j] * f, v[j][k] += d[k] * m[i] * f;
      }
    for (int i = 0; i < N; i++)
      for (int k = 0; k < 3; k++) p[i][k] += v[i][k] * 0.001;
  }
  return bits(p[0][0] + p[3][2]);
}

/* Packed float, conversions from and to integers. */
static uint64_t samples(long n) {
  enum { COUNT = 1024 };
  static float in[COUNT], out[COUNT];
  static int32_t whole[COUNT];
  for (int i = 0; i < COUNT; i++) in[i] = (i * 37 % 257) * 0.25f, whole[i] = i;
  for (long r = 0; r < n; r++) {
    float gain = 0.5f + (r & 15) * 0.03125f;
    for (int i = 0; i < COUNT; i++) out[i] = in[i] * gain + (float)whole[i];
    for (int i = 0; i < COUNT; i++) whole[i] = ((int32_t)out[i] * 3) & 1023;
  }
  uint64_t sum = 0;
  for (int i = 0; i < COUNT; i++) sum = sum * 31 + whole[i];
  return sum;
}

/* Packed bytes and words: absolute differences, averages, multiplications, shuffles. */
static uint64_t pixels(long n) {
  enum { COUNT = 4096 };
  static unsigned char a[COUNT] __attribute__((aligned(16))), b[COUNT] __attribute__((aligned(16)));
  for (int i = 0; i < COUNT; i++) a[i] = i * 7, b[i] = i * 13 + 5;
  __m128i sad = _mm_setzero_si128(), words = sad;
  for (long r = 0; r < n; r++)
    for (int i = 0; i < COUNT; i += 16) {
      __m128i x = _mm_load_si128((__m128i *)(a + i)), y = _mm_load_si128((__m128i *)(b + i));
      sad = _mm_add_epi64(sad, _mm_sad_epu8(x, y));
      __m128i even = _mm_unpacklo_epi8(x, y), odd = _mm_unpackhi_epi8(y, x);
      words = _mm_add_epi32(words, _mm_madd_epi16(even, _mm_shufflelo_epi16(odd, 0x1b)));
      _mm_store_si128((__m128i *)(a + i), _mm_avg_epu8(x, _mm_adds_epu8(y, _mm_srli_epi16(x, 9))));
    }
  uint64_t out[4];
  memcpy(out, &sad, 16), memcpy(out + 2, &words, 16);
  return out[0] + out[1] * 3 + out[2] * 5 + out[3] * 7;
}

/* Loops over double that compare and convert: a histogram. */
static uint64_t histogram(long n) {
  enum { BINS = 64 };
  static uint32_t bins[BINS];
  memset(bins, 0, sizeof bins);
  double x = 0.3;
  for (long i = 0; i < n; i++) {
    x = 3.99 * x * (1 - x);
    bins[(int)(x * BINS)]++;
  }
  uint64_t sum = 0;
  for (int i = 0; i < BINS; i++) sum = sum * 31 + bins[i];
  return sum;
}

const Kind sse_kinds[] = {
    {"product", product, 2000},   {"mandelbrot", mandelbrot, 200000}, {"bodies", bodies, 120000},
    {"samples", samples, 36000}, {"pixels", pixels, 60000},        {"histogram", histogram, 12000000},
    {0},
};

static uint64_t long_bits(long double x) {
  uint64_t b;
  memcpy(&b, &x, 8);
  return b;
}

/* A root and a division each turn. */
static uint64_t orbit(long n) {
  long double x = 1, y = 0.5L, sum = 0;
  for (long i = 0; i < n; i++) {
    long double r = __builtin_sqrtl(x * x + y * y);
    x = x * 0.99L + y / r;
    y = y * 0.98L - 0.01L * x;
    sum += r;
  }
  return long_bits(sum);
}

/* A polynomial over doubles in memory: loads and stores of 64 bits, products and sums between them. */
static uint64_t polynomial(long n) {
  enum { COUNT = 256 };
  static double v[COUNT];
  for (int i = 0; i < COUNT; i++) v[i] = i / 256.0;
  for (long r = 0; r < n; r++)
    for (int i = 0; i < COUNT; i++) {
      long double x = v[i];
      v[i] = (((x * 0.25L - 0.5L) * x + 0.125L) * x - 0.0625L) * x + 0.5L;
    }
  long double sum = 0;
  for (int i = 0; i < COUNT; i++) sum += v[i];
  return long_bits(sum);
}

/* Integers in, comparisons, integers out. */
static uint64_t convert(long n) {
  uint64_t sum = 0;
  long double scale = 0.4375L;
  for (long i = 0; i < n; i++) {
    long double x = (int32_t)(i & 0xffff) * scale;
    if (x > 10000) x -= 9999.5L;
    sum += (int32_t)x;
  }
  return sum;
}

/* 80-bit values in memory. */
static uint64_t long_product(long n) {
  enum { N = 16 };
  static long double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = 1.0L / (i + j + 1), b[i][j] = i - j * 0.5L, c[i][j] = 0;
  for (long r = 0; r < n; r++)
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        long double sum = 0;
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
        c[i][j] = c[i][j] * 0.5L + sum;
      }
  long double sum = 0;
  for (int i = 0; i < N; i++) sum += c[i][N - 1 - i];
  return long_bits(sum);
}

const Kind x87_kinds[] = {
    {"orbit", orbit, 500000},
    {"polynomial", polynomial, 3000},
    {"convert", convert, 3000000},
    {"long-product", long_product, 500},
    {0},
};
