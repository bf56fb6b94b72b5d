/* What the files about several vCPUs share. */
#pragma once
#include "xen.h"

struct runstate { u32 state; u64 since, times[4]; };
/* Where each has its own written. */
extern struct runstate areas[VCPUS];
extern u8 callbacks[], stubs[];
extern u32 started, initialised, wake_port[VCPUS];
/* The stack that code under `attempt` comes back to. */
extern void *resume;

s64 vcpu_op(u32 cmd, u32 vcpu, void *arg);
s64 event_op(u32 cmd, void *arg);
void yield(void);
int is_started(u32 vcpu);
/* The argument of a command: some vCPU, sometimes none; no place for a structure. */
u32 any_vcpu(void);
void *any_area(void);
u32 any_started(void);
u32 state_of(u32 vcpu);

/* A vCPU does something; nobody else does until it waits again, as everybody can see. */
void go(u32 vcpu, void (*step)(void));
void settle(u32 vcpu);
/* Where one waits for what to do. */
void secondary(void);
void expect_work(u32 vcpu);

void initialise(void);
void command_step(void);
void smp_event_step(void);
void run_state(void);
/* Registers callbacks, and lets NMIs in, which after one wait for the hypercall iret. */
void ready(void);
