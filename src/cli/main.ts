/** The `paravirt` command: its words and options. What a subcommand does is in the file of its name. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { InputError } from '../errors.ts'
import { MatrixExit } from '../matrix/verdict.ts'
import { ExitCode } from './exit-codes.ts'
import { explain } from './explain.ts'
import { matrix } from './matrix.ts'
import type { MatrixOptions } from './matrix.ts'
import { run } from './run.ts'
import type { RunOptions } from './run.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

/** Errors are one line on stderr. */
function complain(message: string): void {
  process.stderr.write(`paravirt: ${message.trim().replace(/\s*\n\s*/g, ' ')}\n`)
}

function commandLine(finish: (code: number) => void): Command {
  const program = new Command('paravirt')
    .description('Boots stock Linux kernels on an x86 processor made of TypeScript and WebAssembly.')
    .version(version)
    .configureOutput({ outputError: () => {} })
    .exitOverride()
  program
    .command('run')
    .description('boot a kernel; ends with the guest')
    .argument('[KERNEL]', "bzImage, vmlinux, .deb, or a Debian package's name; default: Debian's cloud kernel")
    .option('--initrd <FILE>', 'initramfs; default: busybox and a shell')
    .option('--append <TEXT>', "added to the kernel's command line")
    .option('--memory <SIZE>', 'guest memory, as 512M or 2G', '512M')
    .option('--cpus <N>', 'virtual processors, which take turns', '1')
    .option('--cpu <MODEL>', 'processor model')
    .option('--on <PLATFORM>', 'what the machine pretends to be', 'native')
    .option('--features <LIST>', "changes to the platform's features, as pv-eoi,no-steal-time")
    .option('--exec <COMMAND>', 'run a command in the default initramfs, print its output, exit with its code')
    .option('--timeout <SECONDS>', 'give up after this time')
    .option('--qemu-test-devices', 'isa-debug-exit at 0xf4, pc-testdev and fw_cfg, for test kernels')
    .option('--trace <KINDS>', 'print requests: cpuid, msr, hypercalls, commands, all')
    .option('--trace-file <FILE>', 'write the trace there, as lines of JSON')
    .option('--count [WHAT]', "print how often each request was made; 'all': also what the kernel did without asking")
    .option('--stats', 'print instructions, time, memory and translation to stderr at the end')
    .option('--hot <N>', 'count what translated code does, and list the N regions that did most at the end')
    .option('--hot-wasm <FOLDER>', 'with --hot: write the WebAssembly text of these regions there')
    .action(async (kernel: string | undefined, options: RunOptions) => finish(await run(kernel, options)))
  program
    .command('matrix')
    .description('boot the same kernel on every platform and compare')
    .argument('[KERNEL...]', "as for run, several make rows; default: Debian's cloud kernel")
    .option('--platforms <LIST>', 'only these, as native,kvm; what the first does the others are compared with')
    .option('--memory <SIZE>', 'memory of each guest', '512M')
    .option('--cpus <N>', 'virtual processors of each guest', '1')
    .option('--append <TEXT>', "added to the kernel's command line")
    .option('--initrd <FILE>', 'initramfs; the boot is good when it powers off; default: busybox and --exec')
    .option('--exec <COMMAND>', 'shell command in user space; the boot is good if it succeeds')
    .option('--until <TEXT>', 'the boot is good, and ends, when the console shows this')
    .option('--timeout <SECONDS>', 'of the host, for each boot; what takes longer hangs', '180')
    .option('--jobs <N>', 'boots at once; default: as many as there are processors and memory for')
    .option('--expect <FILE>', 'assertions about the boots, in JSON (docs/matrix.md)')
    .option('--shard <I/N>', 'only part I of N, for several machines')
    .option('--merge', 'boot nothing; the arguments are files that --json wrote on each of them')
    .option('--tap', 'write TAP instead of the table')
    .option('--json', 'write everything as JSON instead of the table')
    .option('--junit <FILE>', 'also write JUnit XML')
    .option('--html <FILE>', 'also write one page with table, timelines and consoles')
    .action(async (kernels: string[], options: MatrixOptions) => finish(await matrix(kernels, options)))
  program
    .command('explain')
    .description('what a request is, by name or number, or all that a platform can be asked')
    .argument('<NAME>', 'MSR_KVM_SYSTEM_TIME_NEW, 0x40000020, kvm, ...')
    .action((name: string) => {
      for (const line of explain(name)) process.stdout.write(`${line}\n`)
      finish(ExitCode.OK)
    })
  return program
}

async function main(args: readonly string[]): Promise<number> {
  let code: number = ExitCode.OK
  try {
    await commandLine((result) => (code = result)).parseAsync(args, { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return ExitCode.OK
      // Without any word commander has printed the help instead.
      if (error.code !== 'commander.help') complain(error.message.replace(/^error: /, ''))
      return args[0] === 'matrix' ? MatrixExit.USAGE : ExitCode.USAGE
    }
    if (error instanceof InputError) {
      complain(error.message)
      return ExitCode.USAGE
    }
    complain(`internal error: ${error instanceof Error ? error.message : String(error)}`)
    if (process.env['PARAVIRT_DEBUG'] && error instanceof Error) process.stderr.write(`${error.stack}\n`)
    return ExitCode.HOST_ERROR
  }
}

// A reader that has gone away is supervise's business; without a listener it would be an exception.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

// Handles that are still open (a pipe on stdin) must not keep the command alive, but its output must be out.
const flush = (stream: NodeJS.WriteStream) => new Promise<void>((done) => stream.write('', () => done()))
void main(process.argv.slice(2)).then(async (code) => {
  await Promise.all([flush(process.stdout), flush(process.stderr)])
  process.exit(code)
})
