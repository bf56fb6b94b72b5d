/** The effects on vCPUs of a PV domain without a processor: fields that tests read, and a list of what was done. */
import type { PvContext, PvEffects, PvWide, PvWord, TrapInfo } from './pv-effects.ts'

const NO_TRAP: TrapInfo = { flags: 0, cs: 0, address: 0n }
/** Canonical, and none of the hypervisor's addresses. */
const isGuests = (value: bigint): boolean => value < 1n << 47n || value >= 0xffff_8800_0000_0000n

export function mockPv(note: (...words: (string | number | bigint)[]) => void): PvEffects {
  const fields = new Map<string, number | bigint>()
  const traps = new Map<string, TrapInfo>()
  const key = (vcpu: number, name: string | number) => `${vcpu}.${name}`
  const get = <Value extends number | bigint>(vcpu: number, name: PvWord | PvWide | string, none: Value): Value =>
    (fields.get(key(vcpu, name)) as Value | undefined) ?? none
  const hex = (value: bigint | number) => `0x${value.toString(16)}`
  return {
    word: (vcpu, field) => get(vcpu, field, 0),
    setWord: (vcpu, field, value) => void fields.set(key(vcpu, field), value),
    wide: (vcpu, field) => get(vcpu, field, 0n),
    setWide: (vcpu, field, value) => void fields.set(key(vcpu, field), value),
    trap: (vcpu, vector) => traps.get(key(vcpu, vector)) ?? NO_TRAP,
    setTrap: (vcpu, vector, trap) => void traps.set(key(vcpu, vector), trap),
    setRoots: (vcpu, kernel, user) => note('roots', vcpu, hex(kernel), hex(user)),
    tablesChanged: () => {},
    flush: (vcpu) => note('flush', vcpu),
    setGdt: (vcpu, frames, entries) => note('gdt', vcpu, ...frames.map(hex), entries),
    setLdt: (vcpu, base, entries) => note('ldt', vcpu, hex(base), entries),
    mapLdt: (vcpu, page, frame) => {
      fields.set(key(vcpu, `ldt${page}`), frame)
      note('map-ldt', vcpu, page, hex(frame))
    },
    ldtFrame: (vcpu, page) => get(vcpu, `ldt${page}`, 0),
    debugRegister: (vcpu, index) => get(vcpu, `dr${index}`, 0n),
    setDebugRegister: (vcpu, index, value) => {
      if (index > 7) return 19
      if (index < 4 && !isGuests(value)) return 1
      if (index > 3 && value >> 32n) return 22
      fields.set(key(vcpu, `dr${index}`), value)
      return 0
    },
    setTaskSwitched: (vcpu, set) => note('ts', vcpu, Number(set)),
    cr4: (vcpu) => get(vcpu, 'cr4', 0n),
    setSegmentBase: (vcpu, which, base) => {
      if (which > 3) return -22
      note('segment-base', vcpu, which, hex(base))
      return 0
    },
    stackSwitch: (vcpu, ss, sp) => note('stack', vcpu, hex(ss), hex(sp)),
    iret: (vcpu) => note('iret', vcpu),
    nmi: (vcpu) => note('nmi', vcpu),
    kick: (vcpu) => note('kick', vcpu),
    begin: (vcpu: number, context: PvContext) => note('begin', vcpu, hex(context.rip)),
    registers: () => ({
      general: Array.from({ length: 16 }, () => 0n),
      rip: 0n,
      rflags: 2,
      selectors: [0, 0, 0, 0, 0, 0],
      cr: { 0: 0n, 2: 0n, 3: 0n, 4: 0n },
      fsBase: 0n,
      gsBase: 0n,
      otherGsBase: 0n,
      vector: 14,
      error: 2,
    }),
    counts: () => new Map(),
    watch: (on) => note('watch', Number(on)),
  }
}
