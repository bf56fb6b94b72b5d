/**
 * VMI, VMware's paravirtualization API 3.0, which Linux 2.6.21 to 2.6.36 (i386) knows: a ROM with code for what a kernel
 * wants of its hypervisor, on a PC that is otherwise bare. The kernel stays at CPL 0.
 */
import type { CpuidResult } from '../../cpu/models.ts'
import type { Observer } from '../../paravirt/observe.ts'
import type { HypercallInstruction, Platform, PlatformDefinition, PlatformOptions } from '../../paravirt/platform.ts'
import { byNumber } from '../../paravirt/requests.ts'
import type { Transfer } from '../../snapshot/stateful.ts'
import { NativePlatform } from '../native/index.ts'
import type { Call } from './call.ts'
import { calls } from './calls.ts'
import { features } from './features.ts'
import type { CallFrame, CallResult } from './frame.ts'
import { readWord } from './guest-memory.ts'
import { IRET, IretSelectors } from './iret.ts'
import { buildRom, INIT, ROM_ADDRESS } from './rom.ts'
import { Vmi } from './vmi.ts'

const PAGE = 4096
/** Above the number that the ROM has pushed: the return address into the kernel. */
const RETURN = 4
const ARGUMENTS = 8

export class VmiPlatform implements Platform {
  readonly #vmi: Vmi
  readonly #native: NativePlatform
  readonly #observer: Observer
  readonly #iret: IretSelectors
  /** The calls with which the ROM comes to the host. */
  readonly #told: ReadonlyMap<number, Call>

  constructor(options: PlatformOptions) {
    const { effects } = options
    this.#vmi = new Vmi(effects)
    this.#native = new NativePlatform(options)
    this.#observer = options.observer
    const counting = options.features.has('counting')
    this.#told = byNumber(calls.filter(({ answer }) => counting || answer === 'trap'))
    const { bytes, iret } = buildRom(calls, counting)
    this.#iret = new IretSelectors(effects, iret)
    effects.memory.place(ROM_ADDRESS, bytes)
    for (let page = 0; page < bytes.length / PAGE; page++) effects.memory.setKind(ROM_ADDRESS / PAGE + page, 'rom')
  }

  transfer(state: Transfer): void {
    state.part('vmi', this.#vmi)
    state.part('native', this.#native)
  }

  cpuid(vcpu: number, leaf: number, subleaf: number, own: CpuidResult): CpuidResult {
    return this.#native.cpuid(vcpu, leaf, subleaf, own)
  }

  rdmsr(vcpu: number, index: number): bigint | undefined {
    return this.#native.rdmsr(vcpu, index)
  }

  wrmsr(vcpu: number, index: number, value: bigint): boolean {
    return this.#native.wrmsr(vcpu, index, value)
  }

  /** VMCALL belongs to the ROM: the stack says what it is, and it must be the kernel's. */
  hypercall(vcpu: number, instruction: HypercallInstruction): boolean | 'again' {
    const { cpu, memory } = this.#vmi.effects
    if (instruction !== 'vmcall' || cpu.privilege(vcpu) !== 0 || cpu.wide(vcpu)) return false
    const esp = cpu.low(vcpu, 'rsp')
    const number = readWord(memory, vcpu, esp)
    if (number === INIT) return true
    const call = number === undefined ? undefined : this.#told.get(number)
    if (!call) return false
    if (call.number === IRET) {
      this.#observer.note(vcpu, call, 'call', () => [], 0n)
      this.#iret.perform(vcpu, ((readWord(memory, vcpu, esp + RETURN) ?? 0) - CALL_LENGTH) >>> 0, esp + ARGUMENTS)
      return 'again'
    }
    const frame = this.#frame(vcpu, esp)
    const result = call.run?.(this.#vmi, vcpu, frame)
    this.#answer(vcpu, result)
    this.#observer.note(vcpu, call, 'call', () => argumentsOf(call, frame), text(result))
    return true
  }

  #frame(vcpu: number, esp: number): CallFrame {
    const { cpu, memory } = this.#vmi.effects
    const [eax, edx, ecx] = (['rax', 'rdx', 'rcx'] as const).map((name) => cpu.low(vcpu, name)) as [
      number,
      number,
      number,
    ]
    const at = (offset: number) => readWord(memory, vcpu, esp + ARGUMENTS + offset) ?? 0
    return {
      eax,
      edx,
      ecx,
      get stack() {
        return [at(0), at(4)] as const
      },
    }
  }

  #answer(vcpu: number, result: CallResult): void {
    const { cpu } = this.#vmi.effects
    if (typeof result === 'number') cpu.setRegister(vcpu, 'rax', BigInt(result >>> 0))
    if (typeof result !== 'bigint') return
    cpu.setRegister(vcpu, 'rax', BigInt.asUintN(32, result))
    cpu.setRegister(vcpu, 'rdx', BigInt.asUintN(32, result >> 32n))
  }

  start(vcpu: number): boolean {
    return this.#vmi.processors.start(vcpu)
  }
}

/** E8 and four bytes: what the kernel has patched its call sites with. */
const CALL_LENGTH = 5

function argumentsOf({ args }: Call, { eax, edx, ecx, stack }: CallFrame): readonly bigint[] {
  return [eax, edx, ecx, ...stack].slice(0, args.length).map(BigInt)
}

function text(result: CallResult): bigint | string {
  return typeof result === 'object' ? result.error : BigInt(result ?? 0)
}

export const vmi: PlatformDefinition = {
  name: 'vmi',
  title: 'VMI',
  features,
  requests: calls,
  refuses: ({ bits, version }) => {
    if (bits === 64) return 'it is a 64-bit kernel; VMI is for 32-bit ones'
    const [, major, minor, patch] = /^(\d+)\.(\d+)\.(\d+)/.exec(version) ?? []
    const known = major === undefined || (major === '2' && minor === '6' && Number(patch) >= 21 && Number(patch) <= 36)
    return known ? undefined : 'Linux knows VMI from 2.6.21 to 2.6.36 only'
  },
  create: (options) => new VmiPlatform(options),
}
