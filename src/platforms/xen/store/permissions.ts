/**
 * Who may do what with a node: its first entry names the owner and what everybody else may, the others what single
 * domains may (xenstore.txt, "Permissions").
 */
import { StoreError } from './wire.ts'

export const Access = { NONE: 0, READ: 1, WRITE: 2, OWNER: 4 } as const

export type Permission = {
  readonly domain: number
  /** READ and WRITE. */
  readonly access: number
  /** The domain was gone when this was read, or is another one of the same number. */
  readonly ignored?: boolean
}

const letters = ['n', 'r', 'w', 'b']

export const formatPermission = ({ domain, access }: Permission): string => `${letters[access]}${domain | 0}`

/** Numbers are what strtol takes with base 0. */
export function parsePermission(text: string): Permission {
  const access = letters.indexOf(text.charAt(0))
  const number = /^[ \t\n\v\f\r]*([+-]?)(0x[\da-f]+|0[0-7]*|[1-9]\d*)$/i.exec(text.slice(1))
  if (access < 0 || number === null) throw new StoreError('EINVAL')
  const [, sign, digits = ''] = number
  const value = BigInt(/^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits)
  return { access, domain: Number(BigInt.asUintN(32, sign === '-' ? -value : value)) }
}

/** What a domain may; `privileged` ones everything. */
export function accessOf(permissions: readonly Permission[], domain: number, privileged: boolean): number {
  const [owner, ...others] = permissions as [Permission, ...Permission[]]
  if (privileged || owner.domain === domain) return Access.READ | Access.WRITE | Access.OWNER
  return (others.find((entry) => !entry.ignored && entry.domain === domain) ?? owner).access
}
