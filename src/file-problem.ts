/** Why a file could not be read or written, in words for users. */

const reading: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file',
  EISDIR: 'a folder',
  EACCES: 'no permission to read it',
}

const writing: Readonly<Record<string, string>> = {
  ENOENT: 'no such folder',
  ENOTDIR: 'no such folder',
  EISDIR: 'a folder; give a file',
  EACCES: 'no permission to write it',
  EROFS: 'on a file system that cannot be written',
}

/** `error` is what Node threw, or of parsing the content. */
export function fileProblem(error: unknown, to: 'read' | 'write' = 'read'): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (error instanceof SyntaxError) return `not JSON: ${message}`
  return (to === 'read' ? reading : writing)[code ?? ''] ?? message
}
