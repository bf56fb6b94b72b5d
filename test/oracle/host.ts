/** What this host's processor and kernel can judge. */
import { cpus } from 'node:os'

/**
 * Where the SDM leaves things open, processors differ; ours does what Intel's do. AMD's keep no x87 pointers in an FXSAVE
 * image without a pending exception (APM Vol. 5, FXSAVE), choose other NaNs in DPPS, approximate otherwise in RCPPS and
 * RSQRTPS, and round transcendental results otherwise.
 */
export const isIntel = /Intel/.test(cpus()[0]?.model ?? '')
