/** The guest's end of the library's commands, with bytes that come as they please. */
import { expect, test } from 'vitest'
import { loadKernel } from '../../src/boot/kernel.ts'
import { guestPlan } from '../../src/cli/guest.ts'
import { Machine } from '../../src/machine/machine.ts'
import { DEFAULT_KERNEL, kernelFile } from '../../src/packages/debian.ts'

/** What a port has brought, and a promise of more. */
class Heard {
  #text = ''
  #look = () => {}
  readonly take = (bytes: Uint8Array): void => {
    this.#text += Buffer.from(bytes).toString()
    this.#look()
  }
  until(wanted: string): Promise<void> {
    return new Promise((resolve) => {
      this.#look = () => this.#text.includes(wanted) && resolve()
      this.#look()
    })
  }
}

// Busybox's `read` forgets the line that it has begun when a child of its shell ends.
test('a line that comes in two parts is whole, though a command ends between them', async () => {
  const [com1, com2] = [new Heard(), new Heard()]
  const kernel = await loadKernel(await kernelFile(DEFAULT_KERNEL), DEFAULT_KERNEL)
  const machine = await Machine.create({
    memory: 256 << 20,
    cpu: 'inorder',
    platform: 'native',
    fastSerial: ['com2', 'com3'],
    boot: await guestPlan({ kernel, platform: 'native', append: 'quiet' }),
    serial: { com1: com1.take, com2: com2.take, com3: () => {} },
  })
  const say = (port: number, text: string) => machine.serial[port]?.send(Buffer.from(text))
  const ending = new AbortController()
  const ended = machine.run(ending.signal)
  await com2.until('ready')
  say(1, "run 1 0 'sleep 1'\nru")
  await com2.until('exit 1 0')
  say(0, 'sleep 1; echo $((40 + 2))\n')
  await com1.until('42')
  say(1, "n 2 0 'exit 7'\n")
  await com2.until('exit 2 7')
  ending.abort()
  expect((await ended).kind).toBe('aborted')
}, 120_000)
