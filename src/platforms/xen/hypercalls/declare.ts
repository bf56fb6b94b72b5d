/**
 * Hypercalls as data. A hypercall is either carried out itself (`run`), or it has commands: the first argument is a
 * command's number, the second points to its structure, which is copied in before and out after `run`.
 *
 * What `run` answers is RAX: a value or a negative error (`Errno`). 'continue': the operation was long, the arguments
 * (`call.setArg`) say with what it goes on, and the guest makes the call again without knowing. 'done': RAX and all else
 * is as it shall be (PV's iret). What a guest may not do at all ends in `call.domain.crash(reason)`.
 */
import type { Op } from '../../../paravirt/ops.ts'
import type { Argument, Declaration, Tier } from '../../../paravirt/requests.ts'
import type { ErrorName } from '../errno.ts'
import type { Kind } from '../kind.ts'
import type { Block, Struct } from '../struct.ts'
import type { Call } from './call.ts'

export type Answer = number | 'continue' | 'done'

type Errors = Readonly<Partial<Record<ErrorName, string>>>

export interface Hypercall extends Declaration {
  readonly kind: 'hypercall'
  /** Only this kind of guest has it; for the other it is -ENOSYS. */
  readonly guest?: Kind['name'] | undefined
  readonly run?: ((call: Call) => Answer) | undefined
  readonly commands?: readonly Command[] | undefined
  /** The answer to a command that is not declared; default -ENOSYS. */
  readonly unknown?: (call: Call) => number
  /** Bits of the first argument that are the command; memory_op keeps a position above them. */
  readonly commandMask?: number
  /** The command is an unsigned long: it has 64 bits. */
  readonly longCommand?: boolean
  /** What all commands need first: 0, or the answer. */
  readonly check?: ((call: Call) => number) | undefined
}

export interface Command extends Declaration {
  readonly kind: 'hypercall'
  /** Its number among the commands of hypercall `number`. */
  readonly command: number
  readonly guest?: Kind['name'] | undefined
  readonly struct: Struct | undefined
  /** What the array consists of that its pointer leads to. */
  readonly element?: Struct | undefined
  /** What comes before its structure is read: 0, or the answer. */
  readonly check?: ((call: Call) => number) | undefined
  /** The structure goes back when the command has succeeded. */
  readonly writes: boolean
  readonly run: (call: Call, block: Block) => Answer
}

type Common = {
  readonly name: string
  readonly summary: string
  readonly errors?: Errors
  readonly ops?: readonly Op[]
  readonly guest?: Kind['name']
  readonly tier?: Tier
  /** Default: the header and, for what it leaves open, Xen 4.17's own behaviour. */
  readonly source?: string
}

/** A call whose arguments are words. */
export function hypercall(
  row: Common & { readonly number: number; readonly args?: readonly Argument[]; readonly run: (call: Call) => Answer },
): Hypercall {
  return { kind: 'hypercall', tier: 'call', ops: [], source: 'xen/xen.h', args: [], ...row, errors: row.errors ?? {} }
}

/** One command of several; `fields` are its structure's, to read it by name. */
export function command<Name extends string = never>(
  row: Common & {
    readonly command: number
    readonly struct?: Struct<Name>
    readonly element?: Struct
    readonly check?: (call: Call) => number
    /** Arguments that are no structure. */
    readonly args?: readonly Argument[]
    readonly run: (call: Call, block: Block, fields: Struct<Name>['fields']) => Answer
  },
): Omit<Command, 'number'> {
  const { struct, run, ...rest } = row
  const args = row.args ?? struct?.list.filter(({ out }) => !out).map(({ name, type }) => ({ name, type })) ?? []
  const fields = struct?.fields as Struct<Name>['fields']
  return {
    kind: 'hypercall',
    tier: 'call',
    ops: [],
    source: 'xen/xen.h',
    ...rest,
    args,
    errors: row.errors ?? {},
    struct: struct as Struct | undefined,
    writes: struct?.list.some(({ out, back }) => out || back) ?? false,
    run: (call, block) => run(call, block, fields),
  }
}

/** A call with commands. */
export function commands(
  row: Common & {
    readonly number: number
    readonly unknown?: (call: Call) => number
    readonly commandMask?: number
    readonly longCommand?: boolean
    readonly check?: (call: Call) => number
    readonly commands: readonly Omit<Command, 'number'>[]
  },
): Hypercall {
  return {
    kind: 'hypercall',
    tier: 'call',
    ops: [],
    source: 'xen/xen.h',
    args: [{ name: 'cmd', type: { kind: 'u32' } }],
    ...row,
    errors: row.errors ?? {},
    commands: row.commands.map((each) => ({ ...each, number: row.number, guest: each.guest ?? row.guest })),
  }
}
