/*
 * The C library's own fast paths, which it chooses by CPUID: strings and memory at all alignments and lengths, at the
 * end of a page; sorting, searching, regular expressions, numbers as text, dates, wide characters. Digests of results.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <regex.h>
#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <wchar.h>

static uint64_t sum;
static void add(uint64_t x) { sum = (sum ^ x) * 0x100000001b3 + (sum >> 47); }
static void addBytes(const void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) add(((const unsigned char *)bytes)[i]);
}
static void report(const char *what) {
  printf("%-20s %016llx\n", what, (unsigned long long)sum);
  sum = 0xcbf29ce484222325;
}

static uint32_t seed = 1;
static uint32_t next(void) { return seed = seed * 1664525 + 1013904223; }

enum { SIZE = 4096 };
static char *end; /* SIZE bytes before it may be used, none after it */

static char *guarded(void) {
  char *memory = mmap(0, 3 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(memory, SIZE, PROT_NONE);
  mprotect(memory + 2 * SIZE, SIZE, PROT_NONE);
  return memory + 2 * SIZE;
}

static void strings(void) {
  char *other = guarded();
  for (int length = 0; length < 150; length++)
    for (int variant = 0; variant < 4; variant++) {
      char *s = end - length - 1, *t = other - length - 1;
      if (variant & 1) s -= next() % 64, t -= next() % 64;
      for (int i = 0; i < length; i++) s[i] = t[i] = (char)('a' + next() % 20);
      s[length] = t[length] = 0;
      if (length && variant & 2) t[next() % (unsigned)length] ^= 0x20;
      int c = 'a' + (int)(next() % 24);
      char *found;
      add(strlen(s) + strnlen(s, 20));
      add((found = strchr(s, c)) ? (uint64_t)(found - s) : 999);
      add((found = strrchr(s, c)) ? (uint64_t)(found - s) : 999);
      add((uint64_t)(strchrnul(s, c) - s));
      add((found = memchr(s, c, (size_t)length)) ? (uint64_t)(found - s) : 999);
      add((found = memrchr(s, c, (size_t)length)) ? (uint64_t)(found - s) : 999);
      add((uint64_t)((char *)rawmemchr(s, 0) - s));
      int order = strcmp(s, t), part = strncmp(s, t, (size_t)length / 2), bytes = memcmp(s, t, (size_t)length);
      add((uint64_t)((order > 0) + 2 * (order < 0) + 4 * (part > 0) + 8 * (bytes > 0) + 16 * (bytes < 0)));
      order = strcasecmp(s, t), part = strncasecmp(s, t, 9);
      add((uint64_t)((order > 0) + 2 * (order < 0) + 4 * (part > 0)));
      add(strspn(s, "abcdefghij") + strcspn(s, "xyzpq"));
      add((found = strpbrk(s, "tsr")) ? (uint64_t)(found - s) : 999);
      char needle[6] = {s[length / 2], s[length / 2] ? s[length / 2 + 1] : 0};
      add((found = strstr(s, needle)) ? (uint64_t)(found - s) : 999);
      add((found = strcasestr(s, "BA")) ? (uint64_t)(found - s) : 999);
      add((found = memmem(s, (size_t)length, needle, strlen(needle))) ? (uint64_t)(found - s) : 999);
      char copy[400];
      add((uint64_t)(stpcpy(copy, s) - copy));
      strcat(copy, t);
      addBytes(copy, strlen(copy));
      strncpy(copy, t, 40);
      addBytes(copy, 40);
    }
  report("strings");
}

static void moves(void) {
  static char buffer[70000];
  for (int i = 0; i < 3000; i++) {
    size_t size = i % 10 ? next() % 300 : next() % 20000;
    size_t from = next() % 25000, to = i % 3 ? from + next() % 200 : next() % 25000;
    for (size_t j = 0; j < size; j += 97) buffer[from + j] = (char)next();
    switch (i % 4) {
    case 0: memmove(buffer + to, buffer + from, size); break;
    case 1: memcpy(buffer + 45000 + to % 100, buffer + from, size); break;
    case 2: memset(buffer + to, i, size); break;
    default: add((uint64_t)((char *)mempcpy(buffer + 45000, buffer + from, size) - buffer));
    }
  }
  addBytes(buffer, sizeof buffer);
  memcpy(end - 33, buffer, 33);
  memset(end - 100, 7, 100);
  addBytes(end - 200, 200);
  report("moves");
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void sorting(void) {
  static double values[5000];
  for (int i = 0; i < 5000; i++) values[i] = (int32_t)next() / 1e3;
  qsort(values, 5000, sizeof *values, compare);
  addBytes(values, sizeof values);
  for (int i = 0; i < 100; i++) {
    double key = values[i * 50];
    add((uint64_t)((double *)bsearch(&key, values, 5000, sizeof *values, compare) - values));
  }
  hcreate(2000);
  static char names[1000][12];
  for (uintptr_t i = 0; i < 1000; i++) {
    sprintf(names[i], "%x", (unsigned)next());
    hsearch((ENTRY){names[i], (void *)i}, ENTER);
  }
  for (int i = 0; i < 1000; i += 3) add((uintptr_t)hsearch((ENTRY){names[i], 0}, FIND)->data);
  report("sorting");
}

static void expressions(void) {
  static const char *const patterns[] = {"^([a-z]+)([0-9]*)", "(a|bc)*d", "[^a-f]{2,5}$", "([[:alpha:]]+)x\\1",
                                         "(.*)(.)\\2", "a.?b.?c"};
  for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
    regex_t expression;
    if (regcomp(&expression, patterns[p], REG_EXTENDED | (p & 1 ? REG_ICASE : 0))) abort();
    for (int i = 0; i < 300; i++) {
      char text[40];
      int length = (int)(next() % 30);
      for (int j = 0; j < length; j++) text[j] = "abcdefxyzABC0123456789"[next() % 22];
      text[length] = 0;
      regmatch_t matches[3];
      add((uint64_t)regexec(&expression, text, 3, matches, 0));
      for (int j = 0; j < 3; j++) add((uint64_t)(matches[j].rm_so * 100 + matches[j].rm_eo));
    }
    regfree(&expression);
  }
  report("expressions");
}

static void numbers(void) {
  for (int i = 0; i < 3000; i++) {
    char text[80];
    long long value = (long long)(((uint64_t)next() << 32 | next()) >> (next() % 64));
    if (i & 1) value = -value;
    add((uint64_t)snprintf(text, sizeof text, "%lld %#llx %#llo %'+25lld|%-20lld|%.10d", value, value, value, value, value, (int)value));
    addBytes(text, strlen(text));
    char *rest;
    add((uint64_t)strtoll(text, &rest, 10));
    add(strtoull(rest, &rest, 16));
    add((uint64_t)(rest - text));
    lldiv_t parts = lldiv(value, (long long)(next() >> 8) + 1);
    add((uint64_t)parts.quot);
    add((uint64_t)parts.rem);
    unsigned __int128 wide = (unsigned __int128)(uint64_t)value * next() + next();
    add((uint64_t)(wide >> 64));
    add((uint64_t)(wide / (next() + 1ull)));
    add((uint64_t)(wide % ((uint64_t)next() << 32 | 1)));
    int a, b;
    sprintf(text, "%d,%x", (int)value, (unsigned)value);
    add((uint64_t)sscanf(text, "%d,%x", &a, &b));
    add((uint64_t)a ^ (uint64_t)b << 32);
  }
  report("numbers");
}

static void dates(void) {
  setenv("TZ", "XYZ-5:30ABC,M3.2.0,M11.1.0", 1);
  tzset();
  for (int i = 0; i < 1000; i++) {
    time_t t = (time_t)(((uint64_t)next() << 8 | next() >> 24) & 0x3fffffffff) - 0x1000000000;
    struct tm parts;
    char text[100];
    localtime_r(&t, &parts);
    addBytes(text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z %A %j %U %G-%V", &parts));
    add((uint64_t)mktime(&parts));
    add((uint64_t)timegm(&parts));
  }
  report("dates");
}

static void wide(void) {
  for (int i = 0; i < 500; i++) {
    wchar_t text[120] = {0}, copy[120] = {0};
    int length = (int)(next() % 100);
    for (int j = 0; j < length; j++) text[j] = (wchar_t)(1 + next() % (i % 3 ? 0x24f : 0xd000));
    text[length] = 0;
    add(wcslen(text));
    wcscpy(copy, text);
    add((uint64_t)wcscmp(copy, text));
    wchar_t *found = wcschr(text, text[length / 2]);
    add((uint64_t)(found - text));
    add(wcsnlen(text, 10) + (uint64_t)(wmemcmp(text, copy, 5) != 0));
    wmemset(copy, 7, 13);
    addBytes(copy, 60);
  }
  report("wide characters");
}

static void generators(void) {
  srandom(5), srand48(5);
  unsigned short state[3] = {1, 2, 3};
  for (int i = 0; i < 1000; i++) {
    add((uint64_t)random() ^ (uint64_t)lrand48() << 32);
    double x = drand48() + erand48(state);
    addBytes(&x, sizeof x);
  }
  report("random numbers");
}

int main(void) {
  end = guarded();
  report("start");
  strings();
  moves();
  sorting();
  expressions();
  numbers();
  dates();
  wide();
  generators();
  return 0;
}
