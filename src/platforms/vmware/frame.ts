/** The registers of a backdoor call: 32 bits each; the upper halves stay. */
import type { CpuEffects } from '../../paravirt/effects.ts'

const names = { eax: 'rax', ebx: 'rbx', ecx: 'rcx', edx: 'rdx', esi: 'rsi', edi: 'rdi', ebp: 'rbp' } as const
export type FrameRegister = keyof typeof names
export type Frame = Record<FrameRegister, number>

const entries = Object.entries(names) as [FrameRegister, (typeof names)[FrameRegister]][]

export function readFrame(cpu: CpuEffects, vcpu: number): Frame {
  const frame: Partial<Frame> = {}
  for (const [name, register] of entries) frame[name] = cpu.low(vcpu, register)
  return frame as Frame
}

/** Write what differs from `before`. */
export function writeFrame(cpu: CpuEffects, vcpu: number, frame: Frame, before: Frame): void {
  for (const [name, register] of entries) if (frame[name] !== before[name]) setLow(cpu, vcpu, register, frame[name])
}

function setLow(cpu: CpuEffects, vcpu: number, register: (typeof names)[FrameRegister], value: number): void {
  const upper = cpu.register(vcpu, register) & 0xffffffff_00000000n
  cpu.setRegister(vcpu, register, upper | BigInt(value >>> 0))
}

export const high = (register: number): number => register >>> 16
export const withHigh = (register: number, value: number): number => ((value << 16) | (register & 0xffff)) >>> 0
