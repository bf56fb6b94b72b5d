/* What the parts of the 32-bit kernel share. */
#pragma once
#include "xen-rings.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define PAGE 4096u
#define VIRT_BASE 0xc0000000u
#define M2P ((const u32 *)0xf5800000u)

struct start_info {
  char magic[32];
  u32 nr_pages, shared_info, flags, store_mfn, store_evtchn, console_mfn, console_evtchn;
  u32 pt_base, nr_pt_frames, mfn_list, mod_start, mod_len;
  char cmd_line[1024];
};
extern struct start_info *start_info;
extern u8 handler[], event[], second[];
/* shared_info; how often there were events; the second vCPU was there. */
extern u8 shared_page[PAGE];
extern volatile u32 events, mark;

long hypercall(u32 number, u32 a, u32 b, u32 c, u32 d, u32 e);
/* update_va_mapping, with a flush of the address. */
long map(void *address, u64 entry);

void memory(void);
void tables(void);
void entry_points(void);
void registers(void);
void devices(void);
void grants(void);
void leaves(void);
void vcpus(void);
void waiting(void);
