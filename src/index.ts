/**
 * The library: machines that boot kernels, and what a program can do with them. The guide is docs/library.md.
 *
 * @packageDocumentation
 */
export { Machine, type SnapshotSource } from './library/machine.ts'
export type { BootOptions, DeviceOptions, FileContent, RunOptions } from './library/options.ts'
export type { Console, Found, WaitOptions } from './library/console.ts'
export type { Bytes, ExecOptions, ExecResult, Process } from './library/process.ts'
export type { Signal } from './library/agent.ts'
export type { MachineEvents } from './library/events.ts'
export type { HookFor, HookTarget, Numbers } from './library/hook.ts'
export type {
  Call,
  CpuidCall,
  HookFunctions,
  HookKind,
  Hypercall,
  MsrRead,
  MsrWrite,
  PortRead,
  PortWrite,
  RingRequest,
} from './machine/hooks.ts'
export type { ExitReason, MachineStats } from './machine/types.ts'
export type { Event } from './paravirt/observe.ts'
export type { GuestControl, ShutdownRequest } from './paravirt/platform.ts'
export type { Register } from './paravirt/effects.ts'
export type { Argument, ArgumentType, ArgumentValue, Declaration, RequestKind } from './paravirt/requests.ts'
export { InputError } from './errors.ts'
export { BootError } from './boot/error.ts'
export { SnapshotError } from './snapshot/error.ts'
export { type CpuidResult, cpuModels, type CpuModelName } from './cpu/models.ts'
export { platforms, type PlatformName } from './platforms/index.ts'
