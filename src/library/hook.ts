/** What a hook can be put on, by number or by the name of a declared request. */
import { InputError } from '../errors.ts'
import type { HookFunctions, HookKind, Hooks } from '../machine/hooks.ts'
import type { Declaration } from '../paravirt/requests.ts'
import { definitions, type PlatformName } from '../platforms/index.ts'

/** A number, from-to (inclusive), or `all`. */
export type Numbers = number | readonly [first: number, last: number] | 'all'

export type HookTarget =
  | { readonly cpuid: Numbers }
  | { readonly msr: Numbers }
  | { readonly port: Numbers }
  | { readonly hypercall: Numbers }
  /** The ABI's name of a CPUID leaf, MSR, hypercall, backdoor command or request on a ring. */
  | string

/** The function that a target wants; a declared request is of one of these kinds, and its hook gets that kind's call. */
export type HookFor<Target> = Target extends { readonly cpuid: Numbers }
  ? HookFunctions['cpuid']
  : Target extends { readonly msr: Numbers }
    ? HookFunctions['msr']
    : Target extends { readonly port: Numbers }
      ? HookFunctions['port']
      : Target extends { readonly hypercall: Numbers }
        ? HookFunctions['hypercall']
        : HookFunctions[HookKind]

const KINDS = ['cpuid', 'msr', 'port', 'hypercall'] as const
/** VMware's backdoor. */
const BACKDOOR = 0x5658
const MESSAGE = 30

export function addHook(hooks: Hooks, platform: PlatformName, target: HookTarget, hook: unknown): () => void {
  if (typeof hook !== 'function') throw new InputError('hook: the hook must be a function')
  if (typeof target === 'string') return addByName(hooks, platform, target, hook as Generic)
  const kind = KINDS.find((one) => one in target)
  if (!kind || typeof target !== 'object' || Object.keys(target).length !== 1)
    throw new InputError('hook: the target is a name, or one of { cpuid }, { msr }, { port }, { hypercall }')
  return hooks.add(kind, wanted((target as Record<typeof kind, Numbers>)[kind]), hook as HookFunctions[typeof kind])
}

function wanted(numbers: Numbers): (number: number) => boolean {
  if (numbers === 'all') return () => true
  const [first, last] = typeof numbers === 'number' ? [numbers, numbers] : numbers
  if (!Number.isInteger(first) || !Number.isInteger(last) || first > last)
    throw new InputError(`hook: ${JSON.stringify(numbers)} is neither a number, [first, last] nor 'all'`)
  return (number) => number >= first && number <= last
}

type Generic = (call: unknown) => never

function addByName(hooks: Hooks, platform: PlatformName, name: string, hook: Generic): () => void {
  const definition = definitions[platform]
  const requests: readonly Declaration[] = definition.requests
  const request = requests.find((one) => one.name === name)
  if (!request) throw new InputError(`hook: ${definition.title} has no request '${name}'`)
  const { number } = request
  switch (request.kind) {
    case 'cpuid':
    case 'msr':
      return hooks.add(request.kind, (one) => one === number, hook)
    case 'hypercall':
      // Hyper-V's number is in RCX, everybody else's in RAX.
      if (platform !== 'hyperv') return hooks.add('hypercall', (one) => one === number, hook)
      return hooks.add(
        'hypercall',
        () => true,
        (call) => (Number(call.register('rcx') & 0xffffn) === number ? hook(call) : undefined),
      )
    case 'command':
      return hooks.add(
        'port',
        (port) => port === BACKDOOR,
        (call) => {
          const ecx = Number(call.register('rcx') & 0xffffffffn)
          return (number & 0xffff) === MESSAGE
            ? ecx === number
              ? hook(call)
              : undefined
            : (ecx & 0xffff) === number
              ? hook(call)
              : undefined
        },
      )
    case 'ring':
      return hooks.addRing(request, hook)
    default:
      throw new InputError(`hook: '${name}' is no request that a hook can answer: it does not leave the processor`)
  }
}
