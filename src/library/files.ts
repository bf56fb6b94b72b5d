/** Files of the guest's, by commands in it. */
import { InputError } from '../errors.ts'
import { type Bytes, collect, type Process } from './process.ts'

/** One word for a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

export class Files {
  readonly #spawn: (command: string, options: { stdin?: Bytes }) => Process

  constructor(spawn: (command: string, options: { stdin?: Bytes }) => Process) {
    this.#spawn = spawn
  }

  async read(path: string): Promise<Uint8Array> {
    return this.#finish(path, this.#spawn(`exec cat -- ${quoted(path)}`, {}))
  }

  open(path: string): ReadableStream<Uint8Array> {
    const { stdout, stderr, exitCode } = this.#spawn(`exec cat -- ${quoted(path)}`, {})
    const message = collect(stderr)
    const check = async (controller: TransformStreamDefaultController<Uint8Array>) => {
      const code = await exitCode
      if (code !== 0) controller.error(failure(path, await message, code))
    }
    return stdout.pipeThrough(new TransformStream({ flush: check }))
  }

  async write(path: string, content: Bytes, { mode }: { readonly mode?: number | undefined }): Promise<void> {
    if (path.endsWith('/')) throw new InputError(`${path}: a file's path does not end with a slash`)
    const folder = path.slice(0, path.lastIndexOf('/'))
    const commands = [
      ...(folder === '' ? [] : [`mkdir -p -- ${quoted(folder)}`]),
      `cat > ${quoted(path.startsWith('-') ? `./${path}` : path)}`,
      ...(mode === undefined ? [] : [`chmod ${(mode & 0o7777).toString(8)} -- ${quoted(path)}`]),
    ]
    await this.#finish(path, this.#spawn(commands.join(' && '), { stdin: content }))
  }

  async #finish(path: string, { stdout, stderr, exitCode }: Process): Promise<Uint8Array> {
    const [bytes, message, code] = await Promise.all([collect(stdout), collect(stderr), exitCode])
    if (code !== 0) throw failure(path, message, code)
    return bytes
  }
}

/** As the guest says it. */
function failure(path: string, message: Uint8Array, code: number): Error {
  const text = new TextDecoder().decode(message).trim()
  return new Error(text === '' ? `${path}: the guest's command ended with ${code}` : text)
}
