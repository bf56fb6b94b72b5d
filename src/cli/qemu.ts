/**
 * QEMU's spellings of options, so that the command line that someone has works here: single dashes, the kernel as an
 * option, `-smp cpus=4`. What has no counterpart is taken where it asks for what is so anyway, and refused otherwise.
 */
import { InputError } from '../errors.ts'

type Translation = (value: string) => readonly string[]

/** Options with a value. */
const valued: Readonly<Record<string, Translation>> = {
  kernel: (file) => [file],
  initrd: (file) => ['--initrd', file],
  append: (text) => ['--append', text],
  m: (text) => ['--memory', size(text)],
  smp: (text) => ['--cpus', cpus(text)],
  // The terminal is the serial port, there is no other display, and the machine is what --on says.
  serial: (text) => only('serial', text, /^(mon:)?stdio$/, 'the terminal is the serial port'),
  display: (text) => only('display', text, /^none$/, 'there is no display'),
  accel: (text) => only('accel', text, /^tcg/, 'paravirt brings its own processor; leave it out'),
  monitor: (text) => only('monitor', text, /^none$/, 'there is no monitor'),
  gdb: (address) => ['--gdb', address.replace(/^tcp:/, '')],
  cpu: () => refuse('cpu', 'say --cpu with a model of paravirt run --help'),
  machine: () => refuse('machine', 'say --on with a platform of paravirt platforms'),
  M: () => refuse('M', 'say --on with a platform of paravirt platforms'),
}

const plain: Readonly<Record<string, readonly string[]>> = {
  'no-reboot': ['--no-reboot'],
  nographic: [],
  s: ['--gdb', ':1234'],
  S: ['--wait'],
}

const refused: Readonly<Record<string, string>> = {
  hda: 'say --disk FILE',
  drive: 'say --disk FILE',
  netdev: 'say --net user',
  nic: 'say --net user',
  device: 'paravirt has its own devices; say --disk FILE or --net user',
  bios: 'there is no firmware; the kernel is entered directly',
  'enable-kvm': 'paravirt brings its own processor; for a guest of KVM say --on kvm',
}

function only(option: string, text: string, allowed: RegExp, otherwise: string): string[] {
  if (!allowed.test(text)) refuse(`${option} ${text}`, otherwise)
  return []
}

function refuse(option: string, instead: string): never {
  throw new InputError(`-${option}: ${instead}`)
}

/** `512`, `1G`, `size=1G`. */
function size(text: string): string {
  const match = /^(?:size=)?(\d+(?:\.\d+)?[MGmg]?)$/.exec(text)
  return match?.[1] ?? refuse(`m ${text}`, 'write -m 512M or --memory 512M')
}

/** `4`, `cpus=4`, `4,sockets=...`: how the processors are arranged makes no difference. */
function cpus(text: string): string {
  const match = /^(?:cpus=)?(\d+)(?:,|$)/.exec(text)
  return match?.[1] ?? refuse(`smp ${text}`, 'write -smp 4 or --cpus 4')
}

/** Arguments of `paravirt run`, or without a command those that begin with a spelling of QEMU's. */
export function fromQemu(args: readonly string[]): string[] {
  const isQemu = (arg: string) => /^-[a-zA-Z][\w-]*$/.test(arg)
  const first = args[0]
  if (first === undefined || (first !== 'run' && !(isQemu(first) && nameIn(first)))) return [...args]
  const result = ['run']
  const rest = first === 'run' ? args.slice(1) : args
  for (let i = 0; i < rest.length; i++) {
    const arg = rest[i]!
    const name = isQemu(arg) ? nameIn(arg) : undefined
    if (name === undefined) result.push(arg)
    else if (name in refused) refuse(name, refused[name]!)
    else if (name in plain) result.push(...plain[name]!)
    else if (rest[i + 1] === undefined) throw new InputError(`option '${arg}' argument missing`)
    else result.push(...valued[name]!(rest[++i]!))
  }
  return result
}

function nameIn(arg: string): string | undefined {
  const name = arg.slice(1)
  return [valued, plain, refused].some((table) => Object.hasOwn(table, name)) ? name : undefined
}
