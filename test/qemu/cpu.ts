/** QEMU's -cpu for a processor model of ours: as many of its features as TCG has, none that it does not have. */
import { cpuid, signature } from '../../src/cpu/models.ts'
import type { CpuModel } from '../../src/cpu/models.ts'

/** QEMU's names of CPUID bits, by leaf, subleaf and register (0 EAX to 3 EDX). */
const features: readonly (readonly [leaf: number, subleaf: number, register: number, names: string])[] = [
  [
    1,
    0,
    3,
    '0:fpu 1:vme 2:de 3:pse 4:tsc 5:msr 6:pae 7:mce 8:cx8 9:apic 11:sep 12:mtrr 13:pge 14:mca 15:cmov 16:pat ' +
      '17:pse36 19:clflush 23:mmx 24:fxsr 25:sse 26:sse2 27:ss',
  ],
  [
    1,
    0,
    2,
    '0:pni 1:pclmulqdq 3:monitor 9:ssse3 12:fma 13:cx16 17:pcid 19:sse4.1 20:sse4.2 21:x2apic 22:movbe ' +
      '23:popcnt 24:tsc-deadline 25:aes 26:xsave 28:avx 29:f16c 30:rdrand 31:hypervisor',
  ],
  [6, 0, 0, '2:arat'],
  [
    7,
    0,
    1,
    '0:fsgsbase 3:bmi1 5:avx2 7:smep 8:bmi2 9:erms 10:invpcid 14:mpx 18:rdseed 19:adx 20:smap 23:clflushopt ' +
      '24:clwb 29:sha-ni',
  ],
  [7, 0, 2, '2:umip 3:pku 16:la57 22:rdpid'],
  [7, 0, 3, '4:fsrm 29:arch-capabilities'],
  [0xd, 1, 0, '0:xsaveopt 1:xsavec 2:xgetbv1 3:xsaves'],
  [0x80000001, 0, 2, '0:lahf-lm 2:svm 4:cr8legacy 5:abm 6:sse4a 8:3dnowprefetch'],
  [0x80000001, 0, 3, '11:syscall 20:nx 22:mmxext 26:pdpe1gb 27:rdtscp 29:lm 30:3dnowext 31:3dnow'],
  [0x80000007, 0, 3, '8:invtsc'],
]

export function qemuCpu(model: CpuModel): string {
  const state = { apicId: 0, vcpus: 1, osxsave: false, apicEnabled: true }
  const flags = features.flatMap(([leaf, subleaf, register, names]) => {
    const bits = cpuid(model, leaf, subleaf, state)[register]!
    return names.split(' ').map((entry) => {
      const [bit, name] = entry.split(':')
      return `${name}=${bits & (1 << Number(bit)) ? 'on' : 'off'}`
    })
  })
  const eax = signature(model)
  const identity = [
    `vendor=${model.vendor}`,
    `family=${model.family}`,
    `model=${model.model}`,
    `stepping=${eax & 15}`,
    `level=${cpuid(model, 0, 0, state)[0]}`,
    `xlevel=${cpuid(model, 0x80000000, 0, state)[0] >>> 0}`,
    `phys-bits=${cpuid(model, 0x80000008, 0, state)[0] & 255}`,
  ]
  return ['qemu64', ...identity, ...flags].join(',')
}
