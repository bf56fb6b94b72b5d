/** GDB's `monitor` commands: the few things that it cannot ask for itself. */
import type { Debugger } from '../machine/debugger.ts'

const help = [
  'monitor vcpus            what each vCPU does, and where it is',
  'monitor translate ADDR   guest-physical address of a linear one',
  'monitor requests         how often the guest asked its hypervisor for what',
  'monitor quit             end the machine',
]

export function monitor(
  command: string,
  machine: Pick<Debugger, 'vcpus' | 'state' | 'place' | 'translate'>,
  selected: number,
  requests: () => readonly string[],
): readonly string[] {
  const [word = 'help', argument] = command.trim().split(/\s+/)
  switch (word) {
    case 'vcpus':
      return Array.from(
        { length: machine.vcpus },
        (_, i) => `vCPU ${i}: ${machine.state(i)} at 0x${machine.place(i).toString(16)}`,
      )
    case 'translate': {
      const linear = argument !== undefined && /^(0x[\da-f]{1,16}|\d+)$/i.test(argument) ? BigInt(argument) : undefined
      if (linear === undefined) return ['monitor translate needs an address, as 0xffffffff81000000']
      const physical = machine.translate(selected, linear)
      return [physical === undefined ? 'nothing is mapped there' : `0x${physical.toString(16)}`]
    }
    case 'requests':
      return requests()
    case 'quit':
      return []
    default:
      return word === 'help' ? help : [`there is no monitor command '${word}'`, ...help]
  }
}
