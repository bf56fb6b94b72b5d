/* What the files of the bench's program share. A kind of work runs N times and returns a check of all its results. */
#include <stdint.h>

typedef struct {
  const char *name;
  uint64_t (*run)(long n);
  /* Chosen so that one round takes some 0.4 s in paravirt on a machine of 2022. */
  long n;
} Kind;

extern const Kind integer_kinds[], sse_kinds[], x87_kinds[], copy_kinds[], string_kinds[], chase_kinds[], code_kinds[],
    system_kinds[], tool_kinds[];

/* The path of this program, for exec. */
extern const char *self;

void die(const char *what);
