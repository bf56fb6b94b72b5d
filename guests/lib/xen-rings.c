/* Requests on the rings of Xen's backends (xen-rings.h). */
#include "xen-rings.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
#define PAGE __attribute__((aligned(4096)))

static u8 rings[4][4096] PAGE, data[4096] PAGE, list[4096] PAGE;
/* References of these pages. */
enum { RING = 8, DATA = 12, LIST = 13, NOTHING = 99 };

#define WORD(page, offset) (*(volatile u32 *)((page) + (offset)))
#define HALF(page, offset) (*(volatile u16 *)((page) + (offset)))

static void notify(u32 port) {
  u32 send = port;
  xen_call(32, 4, (unsigned long)&send, 0, 0);
}
static void yield(void) { xen_call(29, 0, 0, 0, 0); }

static u32 length_of(const char *text) {
  u32 length = 0;
  while (text[length]) length++;
  return length;
}

/* The store's ring, a byte at a time. */
static struct toolstack_ring store;
static u8 answer[4097];

static void put_byte(u8 byte) {
  while (WORD(store.page, 2052) - WORD(store.page, 2048) == 1024) notify(store.port), yield();
  store.page[WORD(store.page, 2052) & 1023] = byte;
  WORD(store.page, 2052)++;
}
static u8 take_byte(void) {
  while (WORD(store.page, 2060) == WORD(store.page, 2056)) notify(store.port), yield();
  u8 byte = store.page[1024 + (WORD(store.page, 2056) & 1023)];
  WORD(store.page, 2056)++;
  return byte;
}
static u32 take_word(void) {
  u32 word = 0;
  for (int i = 0; i < 4; i++) word |= (u32)take_byte() << 8 * i;
  return word;
}

/* A message and its answer, past events; whether that is no error. */
static int ask(u32 type, u32 transaction, const char *payload, u32 length) {
  const u32 header[] = {type, 7, transaction, length};
  for (int i = 0; i < 16; i++) put_byte(header[i / 4] >> 8 * (i % 4));
  for (u32 i = 0; i < length; i++) put_byte(payload[i]);
  notify(store.port);
  for (;;) {
    u32 kind = take_word();
    take_word(), take_word();
    u32 size = take_word();
    for (u32 i = 0; i < size; i++) answer[i] = take_byte();
    answer[size] = 0;
    if (kind != 15) return kind != 16;
  }
}
#define STORE(name, type, transaction, payload) store_told(name, ask(type, transaction, payload, sizeof payload - 1))
static void store_told(const char *name, int done) { print("%s %s\n", name, done ? "done" : (const char *)answer); }

/* `device/KIND/ID/NAME` and a number. */
static void node(const char *device, const char *name, u32 value) {
  char payload[100], digits[10];
  u32 at = 0, n = 0;
  for (const char *c = device; *c; c++) payload[at++] = *c;
  payload[at++] = '/';
  for (const char *c = name; *c; c++) payload[at++] = *c;
  payload[at++] = 0;
  do digits[n++] = '0' + value % 10; while (value /= 10);
  while (n) payload[at++] = digits[--n];
  if (!ask(11, 0, payload, at)) print("%s/%s %s\n", device, name, answer);
}

static u32 number(void) {
  u32 value = 0;
  for (int i = 0; answer[i] >= '0' && answer[i] <= '9'; i++) value = value * 10 + answer[i] - '0';
  return value;
}

/* Each request that names a path, with the rest of its payload. */
static void paths(u32 transaction) {
  STORE("XS_DIRECTORY", 1, transaction, "data/a\0");
  STORE("XS_READ", 2, transaction, "data/a\0");
  STORE("XS_GET_PERMS", 3, transaction, "data/a\0");
  STORE("XS_DIRECTORY_PART", 22, transaction, "data/a\0" "0\0");
  STORE("XS_WRITE", 11, transaction, "data/a\0" "one");
  STORE("XS_MKDIR", 12, transaction, "data/a/b\0");
  STORE("XS_SET_PERMS", 14, transaction, "data/a\0" "n1\0");
  STORE("XS_RM", 13, transaction, "data/a/b\0");
}

static void store_requests(void) {
  static char large[2200];
  for (u32 i = 0; i < sizeof large; i++) large[i] = i < 6 ? "data/b"[i] : i == 6 ? 0 : 'x';
  paths(0), paths(0), paths(999);
  static const struct { const char *name; u32 type; const char *rest; u32 length; } rows[] = {
    {"XS_DIRECTORY", 1, "", 1}, {"XS_READ", 2, "", 1}, {"XS_GET_PERMS", 3, "", 1}, {"XS_DIRECTORY_PART", 22, "\0000", 3},
    {"XS_WRITE", 11, "", 1}, {"XS_MKDIR", 12, "", 1}, {"XS_RM", 13, "", 1}, {"XS_SET_PERMS", 14, "\0n1", 4}};
  /* A path that is none, one that is closed, one of which nothing is there. */
  static const char *const bad[] = {"a b", "/tool/xenstored/a", "data/none/at/all"};
  for (int i = 0; i < 8; i++)
    for (int k = 0; k < 3; k++) {
      char payload[40];
      u32 at = length_of(bad[k]);
      for (u32 c = 0; c < at; c++) payload[c] = bad[k][c];
      for (u32 c = 0; c < rows[i].length; c++) payload[at + c] = rows[i].rest[c];
      store_told(rows[i].name, ask(rows[i].type, 0, payload, at + rows[i].length));
    }
  store_told("XS_WRITE", ask(11, 0, large, sizeof large));
  STORE("XS_SET_PERMS", 14, 0, "data/a\0" "n0\0"), STORE("XS_SET_PERMS", 14, 0, "data/a\0" "n7\0");
  STORE("XS_SET_PERMS", 14, 0, "data/a\0" "n1\0r0\0r0\0r0\0r0\0r0\0");
  STORE("XS_GET_DOMAIN_PATH", 10, 0, "1\0"), STORE("XS_GET_DOMAIN_PATH", 10, 0, "1"), STORE("XS_GET_DOMAIN_PATH", 10, 999, "1\0");
  static const struct { const char *name; u32 type; } closed[] = {{"XS_CONTROL", 0}, {"XS_INTRODUCE", 8}, {"XS_RELEASE", 9},
    {"XS_IS_DOMAIN_INTRODUCED", 17}, {"XS_RESUME", 18}, {"XS_SET_TARGET", 19}, {"no message", 99}};
  for (int i = 0; i < 7; i++) store_told(closed[i].name, ask(closed[i].type, 0, "1", 2));
}

static void watches(void) {
  STORE("XS_WATCH", 4, 0, "data\0" "w\0"), STORE("XS_WATCH", 4, 0, "data\0" "w\0"), STORE("XS_WATCH", 4, 0, "data\0");
  STORE("XS_UNWATCH", 5, 0, "data\0" "w\0"), STORE("XS_UNWATCH", 5, 0, "data\0" "w\0"), STORE("XS_UNWATCH", 5, 0, "data\0");
  u32 made = 0;
  for (char token[] = "data\0aa"; ask(4, 0, token, sizeof token); made++)
    if (++token[5] == 'z') token[5] = 'a', token[6]++;
  print("%x watches, then %s\n", (unsigned long)made, answer);
  STORE("XS_RESET_WATCHES", 21, 0, "\0"), STORE("XS_RESET_WATCHES", 21, 999, "\0");
}

static void transactions(void) {
  STORE("XS_TRANSACTION_START", 6, 0, "\0");
  u32 id = number();
  STORE("XS_TRANSACTION_START", 6, id, "\0"), STORE("XS_TRANSACTION_START", 6, 999, "\0");
  STORE("XS_TRANSACTION_END", 7, id, "X\0"), STORE("XS_TRANSACTION_END", 7, 999, "T\0");
  STORE("XS_READ", 2, id, "data/a\0"), STORE("XS_WRITE", 11, 0, "data/a\0" "two"), STORE("XS_TRANSACTION_END", 7, id, "T\0");
  STORE("XS_TRANSACTION_START", 6, 0, "\0"), STORE("XS_TRANSACTION_END", 7, number(), "T\0");
  /* The folder is seen before the node in it is made. */
  STORE("XS_TRANSACTION_START", 6, 0, "\0");
  id = number();
  STORE("XS_DIRECTORY", 1, id, "data\0"), STORE("XS_WRITE", 11, 0, "data/later\0"), STORE("XS_RM", 13, id, "data/later\0");
  STORE("XS_TRANSACTION_END", 7, id, "F\0");
  static char large[2200] = "data/b";
  STORE("XS_TRANSACTION_START", 6, 0, "\0");
  id = number();
  store_told("XS_WRITE", ask(11, id, large, sizeof large)), STORE("XS_TRANSACTION_END", 7, id, "T\0");
  u32 made = 0;
  while (ask(6, 0, "\0", 2)) made++;
  print("%x transactions, then %s\n", (unsigned long)made, answer);
  STORE("XS_RESET_WATCHES", 21, 0, "\0");
}

static void grant(u8 *table, u32 reference, const void *page) {
  volatile u8 *entry = table + 8 * reference;
  HALF(entry, 2) = DOM0, WORD(entry, 4) = frame_of(page), HALF(entry, 0) = 1;
}

static u32 offered_port(void) {
  static u32 words_[2] __attribute__((aligned(8)));
  words_[0] = HALVES(SELF, DOM0);
  xen_call(32, 6, (unsigned long)words_, 0, 0);
  return words_[1];
}

/* A shared ring, and the device's wait for the backend. */
struct shared { volatile u8 *page; u32 port, entry, produced, consumed; };

static void *next(struct shared *ring) {
  return (void *)(ring->page + 64 + ring->produced++ % (ring->entry == 112 ? 32 : 256) * ring->entry);
}
static volatile u8 *answered(struct shared *ring, u32 port) {
  WORD(ring->page, 0) = ring->produced;
  notify(port);
  while (WORD(ring->page, 8) == ring->consumed) yield();
  return ring->page + 64 + ring->consumed++ % (ring->entry == 112 ? 32 : 256) * ring->entry;
}
static void connected(const char *path) {
  u32 length = length_of(path) + 1;
  do yield(); while (!ask(2, 0, path, length) || answer[0] != '4');
}

static const char *status_of(u16 status) { return status == 0 ? "done" : status == 0xffff ? "ERROR" : "EOPNOTSUPP"; }

/* An operation with a segment: its reference, the last sector in its page. */
static void block(struct shared *ring, const char *name, u8 operation, u32 sector, u32 reference, u8 last) {
  volatile u8 *request = next(ring);
  for (int i = 0; i < 112; i++) request[i] = 0;
  request[0] = operation, WORD(request, 16) = sector;
  if (operation == 6) {
    request[1] = 0, HALF(request, 2) = 1, WORD(request, 28) = LIST;
    WORD((volatile u8 *)list, 0) = reference, list[4] = 0, list[5] = last;
  } else if (operation == 5) WORD(request, 24) = last;
  else request[1] = reference != 0, WORD(request, 24) = reference, request[29] = last;
  print("%s %s\n", name, status_of(HALF(answered(ring, ring->port), 10)));
}

static void disk(const char *device, const char *backend, int index, struct shared *ring) {
  *ring = (struct shared){rings[index], offered_port(), 112, 0, 0};
  node(device, "ring-ref", RING + index), node(device, "event-channel", ring->port);
  char protocol[60];
  u32 at = length_of(device);
  for (u32 i = 0; i < at; i++) protocol[i] = device[i];
  static const char rest[] = "/protocol\0x86_64-abi";
  for (u32 i = 0; i < sizeof rest - 1; i++) protocol[at + i] = rest[i];
  ask(11, 0, protocol, at + sizeof rest - 1);
  node(device, "state", 3);
  connected(backend);
}

static void disks(void) {
  static const char *const names[] = {"BLKIF_OP_READ", "BLKIF_OP_WRITE", "BLKIF_OP_WRITE_BARRIER", "BLKIF_OP_FLUSH_DISKCACHE",
    "no operation", "BLKIF_OP_DISCARD", "BLKIF_OP_INDIRECT"};
  struct shared first, second;
  disk("device/vbd/51712", "/local/domain/0/backend/vbd/1/51712/state", 0, &first);
  disk("device/vbd/51728", "/local/domain/0/backend/vbd/1/51728/state", 1, &second);
  for (int operation = 0; operation < 7; operation++) {
    block(&first, names[operation], operation, 8, DATA, 7);
    block(&first, names[operation], operation, 8, NOTHING, 99);
    block(&first, names[operation], operation, 60, DATA, 7);
  }
  block(&second, names[5], 5, 8, 0, 8);
  /* What was written is read. */
  for (int i = 0; i < 512; i++) data[i] = i * 3;
  block(&first, names[1], 1, 16, DATA, 0);
  for (int i = 0; i < 512; i++) data[i] = 0;
  block(&first, names[0], 0, 16, DATA, 0);
  print(" byte 9 is %x\n", (unsigned long)data[9]);
}

static void slot(struct shared *ring, u32 reference, u16 flags, u16 size) {
  volatile u8 *request = next(ring);
  WORD(request, 0) = reference, HALF(request, 4) = 0, HALF(request, 6) = flags, HALF(request, 8) = 5, HALF(request, 10) = size;
}
static u16 sent(struct shared *ring) { return HALF(answered(ring, ring->port), 2); }

/* A request of a group and its extra slot: two answers. */
static u16 group(struct shared *ring, u8 type, u8 number) {
  slot(ring, 0, 8, 60);
  volatile u8 *extra = next(ring);
  static const u8 address[] = {1, 0, 0x5e, 0, 0};
  extra[0] = type, extra[1] = 0, extra[7] = number;
  for (int i = 0; i < 5; i++) extra[2 + i] = address[i];
  u16 status = sent(ring);
  sent(ring);
  return status;
}

static void network(void) {
  struct shared tx = {rings[2], offered_port(), 12, 0, 0}, rx = {rings[3], 0, 8, 0, 0};
  static const char device[] = "device/vif/0";
  node(device, "tx-ring-ref", RING + 2), node(device, "rx-ring-ref", RING + 3), node(device, "event-channel", tx.port);
  node(device, "request-rx-copy", 1), node(device, "state", 4);
  connected("/local/domain/0/backend/vif/1/0/state");
  /* Who has 10.0.2.2? */
  static const u8 arp[42] = {255, 255, 255, 255, 255, 255, 0, 0x16, 0x3e, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
    0, 0x16, 0x3e, 0, 0, 1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2};
  for (int good = 1; good >= 0; good--) {
    for (int i = 0; i < 60; i++) data[i] = i < 42 ? arp[i] : 0;
    volatile u8 *offer = next(&rx);
    HALF(offer, 0) = 3, WORD(offer, 4) = good ? LIST : NOTHING;
    WORD(rx.page, 0) = rx.produced;
    slot(&tx, DATA, 0, 60), print("netif_tx_request %s\n", status_of(sent(&tx)));
    short received = HALF(answered(&rx, tx.port), 6);
    print("netif_rx_request %s\n", received > 0 ? "done" : "ERROR");
  }
  print(" the gateway's answer is %x\n", (unsigned long)list[21]);
  slot(&tx, DATA, 0, 1), print("netif_tx_request %s\n", status_of(sent(&tx)));
  u32 joined = 0;
  u16 status;
  while ((status = group(&tx, 2, joined)) == 0) joined++;
  print("%x groups, then %s\n", (unsigned long)joined, status_of(status));
  print("XEN_NETIF_EXTRA_TYPE_MCAST_DEL %s\n", status_of(group(&tx, 3, 0)));
}

static void closed(const char *device, const char *path) {
  node(device, "state", 6);
  u32 length = length_of(path) + 1;
  do yield(); while (!ask(2, 0, path, length) || answer[0] != '6');
}

static void console(void) {
  struct toolstack_ring ring = console_ring();
  /* Where it comes among what Xen's own console shows is nobody's business. */
  static const char text[] = "\n\n";
  for (u32 i = 0; i < sizeof text - 1; i++) ring.page[0x400 + (WORD(ring.page, 0xc0c)++ & 2047)] = text[i];
  notify(ring.port);
  print("console took %s\n", WORD(ring.page, 0xc08) == WORD(ring.page, 0xc0c) ? "it" : "nothing");
}

void ask_rings(void) {
  store = store_ring();
  store_requests();
  watches();
  transactions();
  u8 *table = grant_table();
  for (int i = 0; i < 4; i++) grant(table, RING + i, rings[i]);
  grant(table, DATA, data), grant(table, LIST, list);
  disks();
  network();
  console();
  /* While backends use grants of the guest's. */
  OP("GNTTABOP_set_version", 20, 8, 2);
  closed("device/vbd/51712", "/local/domain/0/backend/vbd/1/51712/state");
  closed("device/vbd/51728", "/local/domain/0/backend/vbd/1/51728/state");
  closed("device/vif/0", "/local/domain/0/backend/vif/1/0/state");
}
