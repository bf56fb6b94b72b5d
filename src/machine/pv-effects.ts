/** The effects on vCPUs of Xen PV domains for real: fields of the core's state blocks. */
import type { Core } from '../cpu/core.ts'
import { M, PvHot, PvState, S } from '../cpu/layout.ts'
import type { PvEffects, PvWide, PvWord } from '../paravirt/pv-effects.ts'
import type { Vcpus } from './vcpus.ts'

const words: Readonly<Record<PvWord, number>> = {
  kernel: PvState.PV_KERNEL,
  iopl: PvState.PV_IOPL,
  assist: PvState.PV_ASSIST,
  flags: PvState.PV_FLAGS,
  syscall32Masks: PvState.PV_SYSCALL32_MASKS,
  sysenterMasks: PvState.PV_SYSENTER_MASKS,
  info: PvState.PV_INFO,
  kernelSs: PvState.PV_KERNEL_SS,
  iobmpLimit: PvState.PV_IOBMP_LIMIT,
  eventCs: PvState.PV_EVENT_CS,
  failsafeCs: PvState.PV_FAILSAFE_CS,
  syscall32Cs: PvState.PV_SYSCALL32_CS,
  sysenterCs: PvState.PV_SYSENTER_CS,
}
const wides: Readonly<Record<PvWide, number>> = {
  kernelSp: PvState.PV_KERNEL_SP,
  event: PvState.PV_EVENT,
  failsafe: PvState.PV_FAILSAFE,
  syscall: PvState.PV_SYSCALL,
  syscall32: PvState.PV_SYSCALL32,
  sysenter: PvState.PV_SYSENTER,
  iobmp: PvState.PV_IOBMP,
}
/** Numbers of the hypercalls that the core does. */
const hot: Readonly<Record<keyof typeof PvHot, number>> = {
  IRET: 23,
  SET_SEGMENT_BASE: 25,
  STACK_SWITCH: 3,
  FPU_TASKSWITCH: 5,
}
const GDT_FRAMES = 14
/** The core's kinds of PV domains. */
const PV64 = 1
const PV32 = 2
const PAGE = 4096n
const CR0_TS = 8n
/** ES CS SS DS FS GS. */
const selectors = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const
const FCW = 0x37f
const MXCSR = 0x1f80
const LEGACY_IMAGE = 512

export function pvEffects(parts: () => { core: Core; vcpus: Vcpus }, signature: number): PvEffects {
  const state = (vcpu: number) => parts().core.vcpus[vcpu] as number
  const word = (vcpu: number, offset: number) => parts().core.i32[(state(vcpu) + offset) >> 2] as number
  const setWord = (vcpu: number, offset: number, value: number) => {
    parts().core.i32[(state(vcpu) + offset) >> 2] = value | 0
  }
  const wide = (vcpu: number, offset: number) => parts().core.u64[(state(vcpu) + offset) >> 3] as bigint
  const setWide = (vcpu: number, offset: number, value: bigint) => {
    parts().core.u64[(state(vcpu) + offset) >> 3] = BigInt.asUintN(64, value)
  }
  const trapAt = (vcpu: number, vector: number) => state(vcpu) + PvState.PV_TRAPS + 16 * vector
  return {
    word: (vcpu, field) => word(vcpu, words[field]),
    setWord: (vcpu, field, value) => setWord(vcpu, words[field], value),
    wide: (vcpu, field) => wide(vcpu, wides[field]),
    setWide: (vcpu, field, value) => setWide(vcpu, wides[field], value),
    trap: (vcpu, vector) => {
      const { u8, u64 } = parts().core
      const at = trapAt(vcpu, vector)
      const cs = (u8[at + 2] as number) | ((u8[at + 3] as number) << 8)
      return { flags: u8[at + 1] as number, cs, address: u64[(at + 8) >> 3] as bigint }
    },
    setTrap: (vcpu, vector, { flags, cs, address }) => {
      const { i32, u64 } = parts().core
      const at = trapAt(vcpu, vector)
      i32[at >> 2] = vector | ((flags & 0xff) << 8) | (cs << 16)
      u64[(at + 8) >> 3] = BigInt.asUintN(64, address)
    },
    setRoots: (vcpu, kernel, user) => {
      const { system } = parts().core
      const root = BigInt(kernel) * PAGE
      if (wide(vcpu, PvState.PV_KERNEL_ROOT) !== root || word(vcpu, S.PV) === 0) system.pvKernelRoot(state(vcpu), root)
      else system.freshenRoot(state(vcpu), root)
      system.pvUserRoot(state(vcpu), BigInt(user) * PAGE)
    },
    tablesChanged: () => {
      const { i32 } = parts().core
      i32[M.TABLES_EPOCH >> 2] = ((i32[M.TABLES_EPOCH >> 2] as number) + 1) | 0
    },
    flush: (vcpu) => parts().core.system.flushRoots(state(vcpu)),
    setGdt: (vcpu, frames, entries) => {
      for (let i = 0; i < GDT_FRAMES; i++) setWord(vcpu, PvState.PV_GDT_FRAMES + 4 * i, frames[i] ?? 0)
      setWord(vcpu, PvState.PV_GDT_ENTS, entries)
    },
    setLdt: (vcpu, base, entries) => {
      setWide(vcpu, PvState.PV_LDT_BASE, base)
      setWord(vcpu, PvState.PV_LDT_ENTS, entries)
      parts().core.system.pvSetLdt(state(vcpu))
    },
    mapLdt: (vcpu, page, frame) => setWord(vcpu, PvState.PV_LDT_FRAMES + 4 * page, frame),
    ldtFrame: (vcpu, page) => word(vcpu, PvState.PV_LDT_FRAMES + 4 * page),
    debugRegister: (vcpu, index) => BigInt.asUintN(64, parts().core.system.pvGetDebug(state(vcpu), index)),
    setDebugRegister: (vcpu, index, value) => parts().core.system.pvSetDebug(state(vcpu), index, value),
    setTaskSwitched: (vcpu, set) => parts().core.system.pvTaskSwitch(state(vcpu), set ? 1 : 0),
    cr4: (vcpu) => wide(vcpu, PvState.PV_CR4),
    setSegmentBase: (vcpu, which, base) => Number(parts().core.system.setSegmentBase(state(vcpu), which, base)),
    stackSwitch: (vcpu, ss, sp) => parts().core.system.pvStackSwitch(state(vcpu), ss, sp),
    iret: (vcpu) => parts().core.system.hypercallIret(state(vcpu)),
    nmi: (vcpu) => {
      setWord(vcpu, S.NMI_PENDING, 1)
      parts().vcpus.pull(vcpu)
    },
    kick: (vcpu) => parts().vcpus.pull(vcpu),
    begin: (vcpu, context) => {
      const { core, vcpus } = parts()
      const p = state(vcpu)
      const roots = [wide(vcpu, PvState.PV_KERNEL_ROOT), wide(vcpu, PvState.PV_USER_ROOT)] as const
      const nmi = word(vcpu, S.NMI_PENDING)
      core.system.resetVcpu(p, signature)
      setWord(vcpu, S.NMI_PENDING, nmi)
      setWide(vcpu, PvState.PV_KERNEL_ROOT, roots[0])
      setWide(vcpu, PvState.PV_USER_ROOT, roots[1])
      setWide(vcpu, S.RDX, 0n)
      context.registers.forEach((value, i) => setWide(vcpu, S.RAX + 8 * i, value))
      setWide(vcpu, S.RIP, context.rip)
      core.system.setFlags(p, context.rflags)
      setWord(vcpu, S.SYSFLAGS, context.rflags & ~0x8d5)
      selectors.forEach((name, i) => setWord(vcpu, S.SEG_SELECTOR + 4 * i, context[name]))
      const inKernel = word(vcpu, PvState.PV_KERNEL) !== 0
      setWide(vcpu, S.SEG_BASE + 32, context.fsBase)
      setWide(vcpu, S.SEG_BASE + 40, inKernel ? context.gsBaseKernel : context.gsBaseUser)
      setWide(vcpu, S.KERNEL_GS_BASE, inKernel ? context.gsBaseUser : context.gsBaseKernel)
      setWide(vcpu, S.CR0, context.taskSwitched ? CR0_TS : 0n)
      setWide(vcpu, PvState.PV_CR4, context.cr4)
      setWide(vcpu, S.XCR0, 1n)
      setWord(vcpu, S.FCW, FCW)
      setWord(vcpu, S.FTW, 0)
      setWord(vcpu, S.MXCSR, MXCSR)
      if (context.fpu) {
        core.u8.set(context.fpu.subarray(0, LEGACY_IMAGE), p + S.SCRATCH)
        core.system.pvLoadFpu(p)
      }
      core.system.pvEnter(p, context.narrow ? PV32 : PV64)
      vcpus.start(vcpu)
    },
    registers: (vcpu) => ({
      general: Array.from({ length: 16 }, (_, i) => wide(vcpu, S.RAX + 8 * i)),
      rip: wide(vcpu, S.RIP),
      rflags: parts().core.system.readEflags(state(vcpu)),
      selectors: selectors.map((_, i) => word(vcpu, S.SEG_SELECTOR + 4 * i)),
      cr: { 0: wide(vcpu, S.CR0), 2: wide(vcpu, S.CR2), 3: wide(vcpu, S.CR3), 4: wide(vcpu, PvState.PV_CR4) },
      fsBase: wide(vcpu, S.SEG_BASE + 32),
      gsBase: wide(vcpu, S.SEG_BASE + 40),
      otherGsBase: wide(vcpu, S.KERNEL_GS_BASE),
      vector: word(vcpu, PvState.PV_VECTOR),
      error: word(vcpu, PvState.PV_ERROR),
    }),
    counts: (vcpu) => {
      const names = Object.keys(PvHot) as (keyof typeof PvHot)[]
      return new Map(names.map((name) => [hot[name], word(vcpu, PvState.PV_COUNTS + 4 * PvHot[name]) >>> 0]))
    },
    watch: (on) => {
      for (let vcpu = 0; vcpu < parts().core.vcpus.length; vcpu++) setWord(vcpu, PvState.PV_WATCHED, on ? 1 : 0)
    },
  }
}
