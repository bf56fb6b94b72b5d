/* What a PVH guest asks, asked by an HVM guest: the interface is the same, its hypercalls are those of xen-pvh-calls64.c. */
#include "xen-pvh-calls64.c"
