/*
 * Xen's libraries as xenstored needs them, without Xen: two domains exist, 0 and 1; a domain's ring is a file, its
 * notifications are port numbers in a FIFO. All files are in $STUB. Loaded with LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int handle;

static int open_stub(const char *name) {
  static int (*real)(const char *, int, ...);
  if (!real) real = dlsym(RTLD_NEXT, "open");
  char path[512];
  snprintf(path, sizeof path, "%s/%s", getenv("STUB"), name);
  return real(path, O_RDWR);
}

int open(const char *path, int flags, ...) {
  static int (*real)(const char *, int, ...);
  if (!real) real = dlsym(RTLD_NEXT, "open");
  if (!strcmp(path, "/proc/xen/xsd_port")) return open_stub("port");
  if (!strcmp(path, "/proc/xen/xsd_kva") || !strcmp(path, "/dev/xen/xenbus")) return open_stub("ring0");
  if (flags & O_CREAT) return real(path, flags, 0600);
  return real(path, flags);
}

void *xc_interface_open(void *a, void *b, unsigned c) { return &handle; }
int xc_interface_close(void *xch) { return 0; }
int xc_domain_getinfo(void *xch, uint32_t first, unsigned max, uint32_t *info) {
  if (first > 1) return 0;
  info[0] = first;
  info[1] = info[2] = 0;
  return 1;
}

void *xengnttab_open(void *logger, unsigned flags) { return &handle; }
int xengnttab_close(void *xgt) { return 0; }
int xengnttab_set_max_grants(void *xgt, uint32_t count) { return 0; }
void *xengnttab_map_grant_ref(void *xgt, uint32_t domid, uint32_t ref, int prot) {
  char name[16];
  snprintf(name, sizeof name, "ring%u", domid);
  int fd = open_stub(name);
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return page == MAP_FAILED ? NULL : page;
}
int xengnttab_unmap(void *xgt, void *page, uint32_t count) { return munmap(page, 4096); }

static int events = -1;
void *xenevtchn_open(void *logger, unsigned flags) {
  events = open_stub("events");
  return &handle;
}
void *xenevtchn_fdopen(void *logger, int fd, unsigned flags) { return &handle; }
int xenevtchn_fd(void *xce) { return events; }
int xenevtchn_bind_interdomain(void *xce, uint32_t domid, uint32_t port) { return 10 + domid; }
int xenevtchn_bind_virq(void *xce, unsigned virq) { return 99; }
int xenevtchn_unbind(void *xce, uint32_t port) { return 0; }
int xenevtchn_notify(void *xce, uint32_t port) { return 0; }
int xenevtchn_unmask(void *xce, uint32_t port) { return 0; }
int xenevtchn_pending(void *xce) {
  uint32_t port;
  return read(events, &port, 4) == 4 ? (int)port : -1;
}
