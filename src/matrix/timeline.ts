/** A boot as phases: what a kernel was about when, by what it said on its console. */
import type { Cell } from './report.ts'

export interface Phase {
  readonly name: string
  /** Virtual nanoseconds. */
  readonly from: number
  readonly to: number
}

/** Each begins with the first line that matches, if it comes after the one before. */
const milestones: readonly (readonly [name: string, begins: RegExp])[] = [
  ['entry', /^/],
  ['processor and memory', /Linux version /],
  ['processors', /smp: Bringing up secondary CPUs|smpboot: CPU0:/],
  ['drivers', /PCI: |NET: Registered|devtmpfs: initialized|Trying to unpack rootfs/],
  ['initramfs', /Freeing unused (kernel|decrypted)|Run \S+ as init process/],
  ['user space', /^paravirt: user space$/],
]

export function phases({ console: lines, virtualNanoseconds, userSpace }: Cell): Phase[] {
  const begins: { name: string; from: number }[] = [{ name: 'entry', from: 0 }]
  let at = 0
  for (const [name, pattern] of milestones.slice(1)) {
    const found = lines.findIndex(({ text }, i) => i >= at && pattern.test(text))
    if (found < 0) continue
    at = found
    begins.push({ name, from: lines[found]!.t })
  }
  if (userSpace && begins.at(-1)!.name !== 'user space') begins.push({ name: 'user space', from: userSpace.t })
  return begins.map(({ name, from }, i) => ({ name, from, to: begins[i + 1]?.from ?? virtualNanoseconds }))
}

export const phaseNames = milestones.map(([name]) => name)
