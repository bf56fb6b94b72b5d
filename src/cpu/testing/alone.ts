/** For tests of a core: a host that has no devices and refuses what it is asked, and a core of 64 KiB of RAM with it. */
import { Core, type CoreHost } from '../core.ts'

export const hostAlone: CoreHost = {
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

/** `host`: what it answers otherwise. */
export const coreAlone = (host: Partial<CoreHost> = {}): Promise<Core> =>
  Core.create({ ramBytes: 1 << 16, vcpus: 1, signature: 0, host: { ...hostAlone, ...host } })
