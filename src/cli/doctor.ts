/** `paravirt doctor`: is all there that a boot needs, and what to do about what is not. */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, readdirSync, statSync } from 'node:fs'
import { availableParallelism, freemem } from 'node:os'
import { join } from 'node:path'
import { cacheFolder } from '../cache.ts'
import { Core } from '../cpu/core.ts'
import { S } from '../cpu/layout.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../packages/debian.ts'

export interface Finding {
  readonly state: 'ok' | 'note' | 'wrong'
  readonly text: string
}

const MIB = 2 ** 20
const NODE = 24
/** Its place among the bases. */
const CS = 8
/** What a boot of the default kernel takes. */
const BOOT_BYTES = 500 * MIB

export async function doctor(): Promise<Finding[]> {
  return [node(), memory(), cache(), await processor(), apt(), ...(await guestFiles())]
}

const ok = (text: string): Finding => ({ state: 'ok', text })
const note = (text: string): Finding => ({ state: 'note', text })
const wrong = (text: string): Finding => ({ state: 'wrong', text })

function node(): Finding {
  const { node: version = '?' } = process.versions
  const is = `Node ${version}, ${availableParallelism()} processors`
  return Number(version.split('.')[0]) >= NODE
    ? ok(is)
    : wrong(`${is}: ${NODE} or newer is needed; npm ci installs one`)
}

function memory(): Finding {
  const free = process.availableMemory?.() ?? freemem()
  const is = `${Math.floor(free / MIB)} MiB of memory free`
  return free >= BOOT_BYTES
    ? ok(is)
    : note(`${is}: a boot takes some ${BOOT_BYTES / MIB}; give guests less with --memory`)
}

function cache(): Finding {
  try {
    const folder = cacheFolder()
    accessSync(folder, constants.W_OK)
    const bytes = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => statSync(join(folder, name), { throwIfNoEntry: false }))
      .reduce((sum, stat) => sum + (stat?.isFile() ? stat.size : 0), 0)
    return ok(`cache: ${folder}, ${Math.round(bytes / MIB)} MiB; deleting it is safe`)
  } catch (error) {
    return wrong(`cache: ${(error as Error).message}; set XDG_CACHE_HOME to a folder that can be written`)
  }
}

/** MOV and HLT in real mode. */
async function processor(): Promise<Finding> {
  const unused = () => {
    throw new Error('HLT asked the machine for something')
  }
  try {
    const host = {
      mmioRead: unused,
      mmioWrite: unused,
      portIn: unused,
      portOut: unused,
      rdmsr: unused,
      wrmsr: unused,
      cpuid: unused,
      hypercall: unused,
      tsc: unused,
      readCr8: unused,
      writeCr8: unused,
      random: unused,
      acknowledge: unused,
    }
    const core = await Core.create({ ramBytes: 1 << 16, vcpus: 1, signature: 0, host })
    core.writeRam(0x1000, Uint8Array.of(0xb8, 0x2a, 0, 0xf4))
    const p = core.vcpus[0] as number
    core.u64[(p + S.RIP) >> 3] = 0x1000n
    for (const base of [S.SEG_BASE, S.DESC_BASE]) core.u64[(p + base + CS) >> 3] = 0n
    core.system.refreshState(p)
    core.system.updateMode(p)
    core.runSlice(0, 1000)
    const value = Number(core.u64[(p + S.RAX) >> 3]! & 0xffffn)
    return value === 42 ? ok('processor: built, and executes') : wrong(`processor: MOV gives ${value} instead of 42`)
  } catch (error) {
    return wrong(`processor: ${(error as Error).message}`)
  }
}

function apt(): Finding {
  const { error } = spawnSync('apt-get', ['--version'], { stdio: 'ignore' })
  return error ? note('no apt-get: kernels and busybox cannot be fetched by name; give files by path') : ok('apt-get')
}

/** Fetches what is missing, as a boot would. */
async function guestFiles(): Promise<Finding[]> {
  const wanted = [
    [DEFAULT_KERNEL, () => kernelFile(DEFAULT_KERNEL)],
    ['busybox-static', () => busyboxFile('amd64')],
  ] as const
  const findings: Finding[] = []
  for (const [name, find] of wanted)
    try {
      findings.push(ok(`${name}: ${await find()}`))
    } catch (error) {
      findings.push(wrong((error as Error).message))
    }
  return findings
}
