import { beforeEach, describe, expect, test } from 'vitest'
import { load, save } from '../snapshot/stateful.ts'
import { Agent } from './agent.ts'
import { execute, spawn } from './process.ts'

let agent: Agent
let lines: string[]
let data: number
const hear = (line: string) => agent.receive(new TextEncoder().encode(line))
const turns = () => new Promise((resolve) => setTimeout(resolve, 5))

beforeEach(() => {
  lines = []
  data = 0
  agent = new Agent({
    control: (bytes) => lines.push(new TextDecoder().decode(bytes).trimEnd()),
    data: (bytes) => void (data += bytes.length),
  })
})

describe('the agent', () => {
  test('runs nothing before the guest is ready', async () => {
    const running = execute(agent, 'echo é', {})
    await turns()
    expect(lines).toEqual([])
    hear('ready\n')
    await turns()
    expect(lines).toEqual(["run 1 0 'echo é'"])
    hear('out 1 w6kK\nerr 1 ')
    hear('AAEC\nexit 1 0\n')
    expect(await running).toEqual({ stdout: 'é\n', stderr: '\0\x01\x02', exitCode: 0 })
  })

  test('says a command in one line', async () => {
    hear('ready\n')
    const running = execute(agent, `echo "it's"\n  echo two`, {})
    await turns()
    expect(lines).toEqual([String.raw`run 1 0 'echo "it'\''s"'"$newline"'  echo two'`])
    hear('exit 1 0\n')
    await running
  })

  test('keeps several commands apart', async () => {
    hear('ready\n')
    const all = Promise.all(['a', 'b'].map((command) => execute(agent, command, { encoding: 'bytes' })))
    await turns()
    hear('out 2 Yg==\nout 1 YQ==\nexit 2 7\nout 9 AAAA\nexit 1 137\n')
    expect(await all).toEqual([
      { stdout: Uint8Array.of(0x61), stderr: new Uint8Array(), exitCode: 137 },
      { stdout: Uint8Array.of(0x62), stderr: new Uint8Array(), exitCode: 7 },
    ])
  })

  test('sends input as fast as it is taken', async () => {
    hear('ready\n')
    const running = execute(agent, 'cat', { stdin: new Uint8Array(100 << 10) })
    await turns()
    expect(lines.slice(1)).toEqual([1, 2, 3, 4].map((chunk) => `in 1 ${chunk} 16384`))
    hear('took 1\ntook 1\n')
    await turns()
    expect(lines.slice(5)).toEqual(['in 1 5 16384', 'in 1 6 16384'])
    hear('took 1\n'.repeat(4))
    await turns()
    expect(lines.slice(7)).toEqual(['in 1 7 4096', 'end 1'])
    expect(data).toBe(100 << 10)
    hear('exit 1 0\n')
    await running
  })

  test('a command that ends takes no more', async () => {
    hear('ready\n')
    const running = execute(agent, 'true', { stdin: new Uint8Array(100 << 10) })
    await turns()
    hear('exit 1 0\n')
    await running
    await turns()
    expect(lines).toHaveLength(5)
  })

  test('kills at a timeout and by a signal', async () => {
    hear('ready\n')
    await expect(execute(agent, 'sleep 9', { timeout: 5 })).rejects.toThrow('timeout')
    expect(lines.at(-1)).toBe('kill 1 KILL')
    const running = spawn(agent, 'sleep 9', {})
    running.kill()
    await turns()
    expect(lines.at(-1)).toBe('kill 2 TERM')
    await expect(execute(agent, 'x', { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no')
  })

  test('tells everybody when the machine stops', async () => {
    const early = execute(agent, 'x', {})
    agent.lose(new Error('the machine has stopped: reset'))
    await expect(early).rejects.toThrow('reset')
    await expect(execute(agent, 'x', {})).rejects.toThrow('reset')
  })

  test('goes on in a restored machine with other numbers', async () => {
    hear('ready\n')
    agent.run('sleep 9', false, { stdout() {}, stderr() {}, exit() {}, lost() {} })
    const saved = save(agent)
    const said: string[] = []
    const other = new Agent({ control: (bytes) => said.push(new TextDecoder().decode(bytes)), data() {} })
    load(other, saved)
    await other.ready()
    spawn(other, 'true', {})
    await turns()
    expect(said).toEqual(["run 2 0 'true'\n"])
  })
})
