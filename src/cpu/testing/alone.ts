/** For tests of a core's memory: a core with 64 KiB of RAM whose host has no devices and refuses what it is asked. */
import { Core, type CoreHost } from '../core.ts'

const host: CoreHost = {
  mmioRead: () => 0,
  mmioWrite: () => {},
  portIn: () => 0,
  portOut: () => {},
  rdmsr: () => undefined,
  wrmsr: () => false,
  cpuid: () => [0, 0, 0, 0],
  hypercall: () => false,
  tsc: () => 0,
  readCr8: () => 0,
  writeCr8: () => {},
  random: () => 0,
  acknowledge: () => -1,
}

export const coreAlone = (): Promise<Core> => Core.create({ ramBytes: 1 << 16, vcpus: 1, signature: 0, host })
