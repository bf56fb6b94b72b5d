/**
 * What the search for divergences leaves out, and why; docs/matrix.md has the same table (a test compares). Messages
 * are compared after `normalised`.
 */

export interface KnownMessage {
  readonly pattern: RegExp
  readonly why: string
}

/** Lines of level warning or worse that a healthy kernel prints on one platform and not on another. */
export const knownMessages: readonly KnownMessage[] = [
  {
    pattern: /^tsc: Marking TSC unstable due to running on Hyper-V$/,
    why: 'Hyper-V without an invariant TSC: Linux says that it takes the reference page instead',
  },
  {
    pattern: /^Unknown kernel command line parameters/,
    why: 'words of the command line that are meant for init',
  },
]

export interface KnownError {
  readonly platform: string
  readonly request: string
  readonly why: string
}

/** Errors that a healthy kernel asks for: it tries something, and goes another way if it is not there. */
export const knownErrors: readonly KnownError[] = []
