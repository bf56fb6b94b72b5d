/** `--snapshot`: a machine that runs is put into a file. */
import { renameSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { InputError } from '../errors.ts'
import type { Machine } from '../machine/machine.ts'

/** What the guest's agent says anew when a program restores the file. */
const AGENT = { ready: false, next: 1 }

export interface SnapshotPlan {
  readonly file: string
  /** Take it when the console has shown this, and end; otherwise when the user wants it. */
  readonly when: string | undefined
  /** The guest has an agent for commands. */
  readonly agent: boolean
}

/** Save a machine that runs; it stands still meanwhile. The file is there when it is whole. Returns its size. */
export async function saveTo(
  machine: Pick<Machine, 'pause' | 'resume' | 'save'>,
  { file, agent }: SnapshotPlan,
): Promise<number> {
  const part = `${file}.part`
  await machine.pause()
  try {
    await using output = await open(part, 'w')
    let size = 0
    for await (const piece of machine.save(agent ? { agent: AGENT } : {})) {
      await output.write(piece)
      size += piece.length
    }
    renameSync(part, file)
    return size
  } catch (error) {
    rmSync(part, { force: true })
    if ((error as NodeJS.ErrnoException).code === undefined) throw error
    throw new InputError(`--snapshot ${file}: ${(error as Error).message}`)
  } finally {
    machine.resume()
  }
}
