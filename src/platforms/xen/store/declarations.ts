/**
 * What a guest can ask of the store, declared: a message on its ring each (xs_wire.h, xenstore.txt; errors as xenstored
 * 4.17 answers them). `requests.ts` carries them out.
 */
import { type Argument, type ArgumentValue, type Declaration, ringRequest } from '../../../paravirt/requests.ts'
import { MessageType as T, type StoreErrno } from './wire.ts'

type Errors = Readonly<Partial<Record<StoreErrno, string>>>

const text = (name: string): Argument => ({ name, type: { kind: 'text' } })
const transactionId: Argument = { name: 'tx_id', type: { kind: 'u32' } }
/** What comes back, where that is not only `OK`: strings, or the value of a node. */
const answer = text('answer')
const content = text('value')
const back: readonly Argument[] = [answer, content]

const noTransaction = 'there is no such transaction'
const size = 'the transaction has touched 1024 nodes'
const malformed = 'the payload is not as it should be, or its path is none'
const denied = 'the permissions, or those of the nearest node above, forbid it'
const memory = 'the domain has 2.5 MiB in the store'
const looking: Errors = {
  EINVAL: malformed,
  EACCES: denied,
  ENOENT: `there is no such node, or ${noTransaction}`,
  ENOSPC: size,
}
const making: Errors = {
  EINVAL: malformed,
  EACCES: denied,
  ENOENT: noTransaction,
  ENOSPC: `the domain has 1000 nodes, or this one would have 2048 bytes, or ${size}`,
  ENOMEM: memory,
}

function message(
  number: number,
  name: string,
  summary: string,
  args: readonly Argument[],
  errors: Errors,
): Declaration {
  return ringRequest({
    number,
    name: `XS_${name}`,
    summary,
    args: [transactionId, ...args],
    errors,
    source: 'xen/io/xs_wire.h; docs/misc/xenstore.txt',
  })
}

const privileged = (number: number, name: string): Declaration =>
  message(number, name, 'for domain 0 only', [text('payload')], { EACCES: 'always' })

const path = text('path')

export const storeDeclarations: readonly Declaration[] = [
  privileged(T.CONTROL, 'CONTROL'),
  message(T.DIRECTORY, 'DIRECTORY', 'names of the children of a node', [path, answer], {
    ...looking,
    E2BIG: 'they have more than 4096 bytes',
  }),
  message(T.READ, 'READ', 'the value of a node', [path, content], looking),
  message(T.GET_PERMS, 'GET_PERMS', 'owner and permissions of a node', [path, answer], looking),
  message(T.WATCH, 'WATCH', 'be told of changes of a node and below, and once at first', [path, text('token')], {
    EINVAL: malformed,
    EEXIST: 'there is this watch',
    E2BIG: 'the domain has more than 128 watches',
    ENOMEM: memory,
  }),
  message(T.UNWATCH, 'UNWATCH', 'be told no more', [path, text('token')], {
    EINVAL: malformed,
    ENOENT: 'there is no such watch',
  }),
  message(T.TRANSACTION_START, 'TRANSACTION_START', 'begin a transaction: its id', [answer], {
    EBUSY: 'within a transaction',
    ENOSPC: 'the domain has more than 10',
    ENOENT: noTransaction,
  }),
  message(T.TRANSACTION_END, 'TRANSACTION_END', 'commit a transaction (T) or forget it (F)', [text('commit')], {
    EINVAL: 'neither T nor F',
    ENOENT: noTransaction,
    EAGAIN: 'what it has read has changed',
    ENOSPC: 'the domain would have 1000 nodes',
    ENOMEM: 'something in it had failed',
  }),
  privileged(T.INTRODUCE, 'INTRODUCE'),
  privileged(T.RELEASE, 'RELEASE'),
  message(T.GET_DOMAIN_PATH, 'GET_DOMAIN_PATH', 'where the nodes of a domain are', [text('domid'), answer], {
    EINVAL: malformed,
    ENOENT: noTransaction,
  }),
  message(T.WRITE, 'WRITE', 'set the value of a node, which is made if there is none', [path, text('value')], making),
  message(T.MKDIR, 'MKDIR', 'make a node if there is none', [path], making),
  message(T.RM, 'RM', 'remove a node and all below it', [path], {
    EINVAL: malformed,
    EACCES: denied,
    ENOENT: `there is no such node and none above it, or ${noTransaction}`,
    ENOSPC: size,
    EIO: 'the transaction has seen it and the one above it at different times',
  }),
  message(T.SET_PERMS, 'SET_PERMS', 'set owner and permissions of a node', [path, text('perms')], {
    EINVAL: malformed,
    EACCES: denied,
    ENOENT: `there is no such node, or no such owner, or ${noTransaction}`,
    EPERM: 'the owner would be another one',
    ENOSPC: `more than 5 permissions, or a node of 2048 bytes, or ${size}`,
    ENOMEM: memory,
  }),
  privileged(T.IS_DOMAIN_INTRODUCED, 'IS_DOMAIN_INTRODUCED'),
  privileged(T.RESUME, 'RESUME'),
  privileged(T.SET_TARGET, 'SET_TARGET'),
  message(T.RESET_WATCHES, 'RESET_WATCHES', 'forget all watches and transactions of the domain', [], {
    ENOENT: noTransaction,
  }),
  message(
    T.DIRECTORY_PART,
    'DIRECTORY_PART',
    'names of children from a position on, after the generation of the node',
    [path, text('offset'), answer],
    looking,
  ),
]

/** A message of a type that is not declared. */
export const unknownMessage = ringRequest({
  number: -1,
  name: 'XS_unknown',
  summary: 'a message of a type that does not exist',
  args: [transactionId, { name: 'type', type: { kind: 'u32' } }],
  errors: { ENOSYS: 'always' },
  source: 'xen/io/xs_wire.h',
})

/** Values of a message's arguments. Lists are told with commas; `answered`: the answer's payload. */
export function storeValues(
  { args }: Declaration,
  transaction: number,
  payload: string,
  answered: string | undefined,
): ArgumentValue[] {
  const values: ArgumentValue[] = [BigInt(transaction)]
  const asked = args.filter((arg) => arg !== transactionId && !back.includes(arg))
  let rest = payload
  for (const [i, { name }] of asked.entries()) {
    const end = i < asked.length - 1 ? rest.indexOf('\0') : -1
    const own = end < 0 ? rest : rest.slice(0, end)
    values.push(name === 'value' ? own : listed(own))
    rest = end < 0 ? '' : rest.slice(end + 1)
  }
  if (answered !== undefined && args.includes(answer)) values.push(listed(answered))
  if (answered !== undefined && args.includes(content)) values.push(answered)
  return values
}

const listed = (strings: string): string => strings.replace(/\0$/, '').replaceAll('\0', ',')
