/**
 * `paravirt run`: kernel, initramfs, command line, machine, console, and what its end means. Everything that can be
 * refused is refused before anything is started.
 */
import { loadKernel } from '../boot/kernel.ts'
import type { Kernel } from '../boot/entries.ts'
import { InputError } from '../errors.ts'
import { Machine } from '../machine/machine.ts'
import type { MachineOptions } from '../machine/types.ts'
import { cpuModels } from '../cpu/models.ts'
import { definitions, platforms, type PlatformName } from '../platforms/index.ts'
import { possiblePlatforms, refusal } from '../platforms/refusal.ts'
import { GdbServer, parseGdbAddress } from '../gdb/server.ts'
import { kernelBacktrace } from '../symbols/backtrace.ts'
import { readSystemMap } from '../symbols/system-map.ts'
import { ExitCode } from './exit-codes.ts'
import { type DeviceOptions, guestDevices, openDevices } from './devices.ts'
import { guestPlan, readInitrd } from './guest.ts'
import { findKernelPath } from './kernel-path.ts'
import { hotLines, parseHot, prepareFolder } from './hot.ts'
import { parseCpus, parseFeatures, parseMemory, parseName, parseTimeout } from './options.ts'
import { supervise } from './supervise.ts'
import { countLines, openTrace, parseCount, parseTrace } from './trace.ts'

/** As commander gives them: texts, or absent. */
export interface RunOptions extends DeviceOptions {
  readonly initrd?: string
  readonly append?: string
  readonly memory: string
  readonly cpus: string
  readonly cpu?: string
  readonly on?: string
  readonly features?: string
  readonly exec?: string
  readonly timeout?: string
  /** commander's --no-reboot. */
  readonly reboot: boolean
  readonly systemMap?: string
  readonly qemuTestDevices?: true
  readonly trace?: string
  readonly traceFile?: string
  readonly count?: true | string
  readonly stats?: true
  readonly snapshot?: string
  readonly snapshotWhen?: string
  readonly gdb?: string
  readonly wait?: true
  readonly hot?: string
  readonly hotWasm?: string
}

/** Returns the exit code. */
export async function run(kernelName: string | undefined, options: RunOptions): Promise<number> {
  const { exec, initrd, append } = options
  const memory = parseMemory(options.memory)
  const cpus = parseCpus(options.cpus)
  const chosen = options.on === undefined ? undefined : parseName('platform', options.on, platforms)
  const featuresOf = (name: PlatformName) =>
    options.features === undefined ? [] : parseFeatures(options.features, name, Object.keys(definitions[name].features))
  if (chosen) featuresOf(chosen)
  const cpu = parseName('processor model', options.cpu ?? cpuModels[0], cpuModels)
  const timeout = options.timeout === undefined ? undefined : parseTimeout(options.timeout)
  const counted = options.count === undefined ? undefined : parseCount(options.count)
  const hot = options.hot === undefined ? undefined : parseHot(options.hot)
  if (hot !== undefined && counted === 'all') throw new InputError('--hot: with --count all nothing is translated')
  if (options.hotWasm !== undefined) {
    if (hot === undefined) throw new InputError('--hot-wasm needs --hot, which says how many regions')
    prepareFolder(options.hotWasm)
  }
  if (options.traceFile !== undefined && options.trace === undefined)
    throw new InputError('--trace-file needs --trace, which says what to write')
  const traced = options.trace === undefined ? undefined : parseTrace(options.trace)
  if (exec !== undefined && initrd !== undefined)
    throw new InputError('--exec needs the default initramfs; leave out --initrd')

  const { snapshot, snapshotWhen: when } = options
  const gdb = options.gdb === undefined ? undefined : parseGdbAddress(options.gdb)
  if (options.wait && !gdb) throw new InputError('--wait needs --gdb, which says where GDB connects')
  if (when !== undefined && snapshot === undefined)
    throw new InputError('--snapshot-when needs --snapshot, which says where to save')
  if (snapshot !== undefined && exec !== undefined)
    throw new InputError('--snapshot: with --exec the machine ends with the command; leave out one of them')
  const symbols = options.systemMap === undefined ? undefined : readSystemMap(options.systemMap)
  const given = initrd === undefined ? undefined : await readInitrd(initrd, memory)
  const { path, source } = await findKernelPath(kernelName)
  const kernel = await loadKernel(path, source)
  if (kernel.entries.multiboot !== undefined && exec !== undefined)
    throw new InputError(`--exec: ${kernel.name} is no Linux`)
  const platform = chosen ?? guessPlatform(kernel)
  const features = featuresOf(platform)
  const quiet = exec !== undefined
  using devices = openDevices(options, platform)
  const guest = devices && !given ? await guestDevices(source, kernel, devices) : undefined
  if (guest && !guest.found) report([`paravirt: ${source}: its modules are not here; its drivers must be built in`])
  const boot = await guestPlan({
    kernel,
    platform,
    initrd: given,
    devices: guest,
    exec,
    append,
    quiet,
    window: windowSize(),
  })
  const trace = traced && openTrace(traced, options.traceFile)
  let machine: Machine | undefined
  let server: GdbServer | undefined
  const quit = new AbortController()
  const testDevices = options.qemuTestDevices === true
  const census = counted === 'all'
  const start = async (serial: MachineOptions['serial']) => {
    machine = await Machine.create({
      memory,
      cpus,
      platform,
      features,
      cpu,
      boot,
      serial,
      devices,
      onReport: report,
      census,
      testDevices,
      profile: hot !== undefined,
    })
    trace?.attach(machine.requests)
    if (gdb) {
      const { requests } = machine
      const counts = () => countLines(requests, undefined)
      server = await GdbServer.listen(gdb, { machine, bits: kernel.bits, onKill: () => quit.abort(), requests: counts })
      if (options.wait) await machine.pause()
      report([`gdb: target remote ${gdb.host}:${server.port}${options.wait ? '; the machine waits for it' : ''}`])
    }
    return machine
  }
  const { reboot, stats = false } = options
  const plan = snapshot === undefined ? undefined : { file: snapshot, when, agent: given === undefined }
  const code = await supervise(start, {
    executing: exec !== undefined,
    timeout,
    stats,
    // A debugger's breakpoints are this machine's.
    reboot: reboot && !gdb,
    snapshot: plan,
    quit: quit.signal,
  })
  server?.end(code)
  trace?.end()
  if (machine && (code === ExitCode.PANIC || code === ExitCode.TRIPLE_FAULT))
    report(kernelBacktrace(machine, kernel, symbols))
  const profile = machine?.core.translator?.profile
  if (hot !== undefined && machine && profile)
    report(await hotLines(profile, hot, machine.stats().instructions, options.hotWasm))
  if (counted && machine) report(countLines(machine.requests, machine.census))
  return code
}

/** The guest's last words, counts: beside its output. */
function report(lines: readonly string[]): void {
  for (const line of lines) process.stderr.write(`${line}\n`)
}

/** Where a PC will do, or the only platform that the kernel can make anything of. */
function guessPlatform(kernel: Kernel): PlatformName {
  const [pc] = platforms
  if (refusal(kernel, pc) === undefined) return pc
  const possible = possiblePlatforms(kernel)
  const [first] = possible
  if (first !== undefined && possible.length === 1) return first
  if (first !== undefined) throw new InputError(`${kernel.name}: say with --on which it is for: ${possible.join(', ')}`)
  const reasons = platforms.map((platform) => `${platform}: ${refusal(kernel, platform)}`)
  throw new InputError(`${kernel.name}: no platform can run it (${reasons.join('; ')})`)
}

function windowSize(): { rows: number; columns: number } | undefined {
  const { isTTY, rows, columns } = process.stdout
  return isTTY && rows > 0 && columns > 0 ? { rows, columns } : undefined
}
