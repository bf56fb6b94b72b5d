/*
 * What a guest of Xen asks of dom0 on rings, one by one, good and bad: xenstore, disks, a network card, the console. A line has
 * the request's name and what was answered.
 */
#pragma once
#include "xen-calls.h"

/* What the guest that uses this has: the two rings that the toolstack made, and its ends of their event channels. */
struct toolstack_ring {
  volatile unsigned char *page;
  unsigned int port;
};
struct toolstack_ring store_ring(void), console_ring(void);

/* Grants of version 1, ports of dom0's; the disks are xvda, which can discard, and xvdb, which cannot. */
void ask_rings(void);
