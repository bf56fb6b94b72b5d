/** What `Machine.boot` takes, checked before anything starts: every mistake is told in one InputError. */
import * as z from 'zod'
import { M } from '../cpu/layout.ts'
import { cpuModels, type CpuModelName } from '../cpu/models.ts'
import { InputError } from '../errors.ts'
import { definitions, type PlatformName, platforms } from '../platforms/index.ts'

const MIB = 1 << 20
const LEAST = 16 * MIB

/** Content of a file: text becomes UTF-8. */
export type FileContent = string | Uint8Array

export interface RunOptions {
  /** Ends the machine. */
  readonly signal?: AbortSignal
  /** Do not run yet: `resume` starts it. For hooks and listeners that must not miss anything. */
  readonly paused?: boolean
  /** Translate hot code to WebAssembly (default), or only interpret. */
  readonly translate?: boolean
}

/** What a machine is given that is not in a snapshot. */
export interface DeviceOptions {
  /**
   * Disks, where the platform has such (Xen): a raw image, or one that is `readonly` or whose changes are forgotten
   * (`cow`), or bytes, which the guest changes. The guest calls them xvda, xvdb, ... In browsers: bytes, or the URL of an
   * image that is `readonly` or `cow`.
   */
  readonly disks?: readonly (string | Uint8Array | { readonly path: string; readonly mode?: 'readonly' | 'cow' })[]
  /** Network cards. `user`: a small network with DHCP and a gateway, and no way out. */
  readonly networks?: readonly 'user'[]
}

export interface BootOptions extends RunOptions, DeviceOptions {
  /**
   * The kernel: a file (bzImage, ELF vmlinux, .deb), its bytes, or the name of a Debian package such as
   * `linux-image-amd64`. Default: Debian's cloud kernel. In browsers: the URL or the bytes of a bzImage or vmlinux.
   */
  readonly kernel?: string | Uint8Array
  /**
   * An initramfs of your own: a file (in browsers a URL) or its bytes. Default: busybox, with a shell on the console and
   * the agent for `exec`.
   */
  readonly initrd?: string | Uint8Array
  /** A static busybox for the default initramfs: a file (in browsers a URL) or its bytes. Default: Debian's; in browsers none. */
  readonly busybox?: string | Uint8Array
  /** Files for the default initramfs, by absolute path. */
  readonly files?: Readonly<Record<string, FileContent>>
  /** Added to the kernel's command line. */
  readonly append?: string
  /** Guest memory: bytes, or text such as `512M` (default) or `2G`. */
  readonly memory?: number | string
  /** Virtual processors, which take turns; default 1, at most 32. */
  readonly cpus?: number
  /** Processor model. */
  readonly cpu?: CpuModelName
  /** What the machine pretends to be; default `native`. */
  readonly on?: PlatformName
  /** Changes to the platform's features: `name` is on, `no-name` off. */
  readonly features?: readonly string[]
  /** Time passes with instructions executed instead of the host's clock, and every run is the same. */
  readonly deterministic?: boolean
}

const bytes = z.instanceof(Uint8Array, { error: 'must be a path or bytes (Uint8Array)' })
const file = z.union([z.string().min(1, 'must not be empty'), bytes], { error: 'must be a path or bytes (Uint8Array)' })

const memory = z
  .union([z.number(), z.string()], { error: "must be bytes or a size such as '512M'" })
  .transform((value, context) => {
    const bytesOf = typeof value === 'number' ? value : parseSize(value)
    const problem =
      bytesOf === undefined || !Number.isInteger(bytesOf / MIB)
        ? 'is not a whole number of MiB'
        : bytesOf < LEAST
          ? 'is too small; at least 16M'
          : bytesOf > M.MAX_RAM
            ? `is too large; at most ${M.MAX_RAM / MIB}M`
            : undefined
    if (problem === undefined) return bytesOf as number
    context.addIssue({ code: 'custom', message: problem })
    return z.NEVER
  })

function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([MG])(?:i?B)?$/i.exec(text.trim())
  return match ? Number(match[1]) * (match[2]?.toUpperCase() === 'G' ? 1024 : 1) * MIB : undefined
}

const oneOf = <Name extends string>(names: readonly Name[]) =>
  z.enum(names as readonly [Name, ...Name[]], { error: `must be one of ${names.join(', ')}` })

const runShape = {
  signal: z.instanceof(AbortSignal, { error: 'must be an AbortSignal' }).optional(),
  paused: z.boolean().default(false),
  translate: z.boolean().default(true),
}
const path = z.string().regex(/^\/./, 'must be absolute')

const deviceShape = {
  disks: z
    .array(
      z.union(
        [
          z
            .string()
            .min(1)
            .transform((name) => ({ path: name })),
          z.instanceof(Uint8Array),
          z.strictObject({ path: z.string().min(1), mode: z.enum(['readonly', 'cow']).optional() }),
        ],
        { error: "must be a path, bytes (Uint8Array), or { path, mode: 'readonly' or 'cow' }" },
      ),
      { error: 'must be a list' },
    )
    .default([]),
  networks: z.array(z.enum(['user'], { error: 'must be user' }), { error: 'must be a list' }).default([]),
}

const bootSchema = z
  .strictObject({
    ...runShape,
    ...deviceShape,
    kernel: file.optional(),
    initrd: file.optional(),
    busybox: file.optional(),
    files: z.record(path, z.union([z.string(), bytes])).default({}),
    append: z.string().optional(),
    memory: memory.default(512 * MIB),
    cpus: z.int('must be a whole number').min(1, 'at least 1').max(M.MAX_VCPUS, `at most ${M.MAX_VCPUS}`).default(1),
    cpu: oneOf(cpuModels).default(cpuModels[0]),
    on: oneOf(platforms).default('native'),
    features: z.array(z.string()).default([]),
    deterministic: z.boolean().default(false),
  })
  .superRefine(({ on, features, initrd, busybox, files }, context) => {
    const known = Object.keys(definitions[on].features)
    for (const name of features)
      if (!known.includes(name.replace(/^no-/, '')))
        context.addIssue({
          code: 'custom',
          path: ['features'],
          message: `'${name}': ${on} has ${known.join(', ') || 'none to choose'}`,
        })
    if (initrd !== undefined && busybox !== undefined)
      context.addIssue({ code: 'custom', path: ['busybox'], message: 'is for the default initramfs; leave out initrd' })
    if (initrd !== undefined && Object.keys(files).length > 0)
      context.addIssue({ code: 'custom', path: ['files'], message: 'are for the default initramfs; leave out initrd' })
  })
const restoreSchema = z.strictObject({ ...runShape, ...deviceShape })

export type CheckedBoot = z.output<typeof bootSchema>
export type CheckedRestore = z.output<typeof restoreSchema>
export type CheckedRun = Pick<CheckedRestore, keyof typeof runShape>
export type CheckedDevices = Pick<CheckedRestore, keyof typeof deviceShape>

function check<Output>(what: string, schema: z.ZodType<Output>, options: unknown): Output {
  const { success, data, error } = schema.safeParse(options)
  if (success) return data
  const problems = error.issues.map((issue) => {
    if (issue.code === 'unrecognized_keys')
      return `there is no option ${issue.keys.map((key) => `'${key}'`).join(', ')}`
    const message = issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message
    return [issue.path.join('.'), message].filter(Boolean).join(': ')
  })
  throw new InputError(`${what}: ${problems.join('; ')}`)
}

export const checkBoot = (options: BootOptions): CheckedBoot => check('Machine.boot', bootSchema, options)
export const checkRestore = (options: RunOptions & DeviceOptions): CheckedRestore =>
  check('Machine.restore', restoreSchema, options)
