/**
 * The words and options of the `paravirt` command. What a command does is in the file of its name, which is loaded when
 * it is used; `npm run docs` makes docs/cli.md of what stands here.
 */
import { Command } from 'commander'
import type { DemoOptions } from './demo.ts'
import type { InspectOptions } from './inspect.ts'
import type { MatrixOptions } from './matrix.ts'
import type { OpsOptions } from './ops.ts'
import { ExitCode } from './exit-codes.ts'
import type { RunOptions } from './run.ts'
import type { RestoreOptions } from './restore.ts'
import type { StatOptions } from './stat.ts'
import type { TraceFileOptions } from './trace-file.ts'
import { VERSION } from '../version.ts'

/** Shown at the end of --help, and in the docs. */
const examples = (...lines: string[]): string => `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`

/** An option that can be given several times. */
const collect = (value: string, before: readonly string[] = []): string[] => [...before, value]

const print = (lines: readonly string[]): boolean => process.stdout.write(lines.map((line) => `${line}\n`).join(''))

/** `finish` gets the exit code. */
export function commandLine(finish: (code: number) => void): Command {
  const program = new Command('paravirt')
    .description('Boots stock Linux kernels on an x86 processor made of TypeScript and WebAssembly.')
    .version(VERSION)
    .configureOutput({ outputError: () => {} })
    .exitOverride()
  program
    .command('demo')
    .description('run a kernel of our own, which has a pv_ops table, on every platform; nothing is fetched')
    .option('--platforms <LIST>', 'only these, as native,kvm')
    .option('--bits <N>', 'the 64-bit or the 32-bit kernel', '64')
    .option('--cpus <N>', 'virtual processors, at most 8', '2')
    .option('--timeout <SECONDS>', 'for each platform', '60')
    .option('--console', 'what the kernel writes, instead of the table')
    .option('--json', 'write JSON instead of the table')
    .addHelpText(
      'after',
      examples('paravirt demo', 'paravirt demo --platforms kvm --console', 'paravirt demo --bits 32 --json'),
    )
    .action(async (options: DemoOptions) => finish(await (await import('./demo.ts')).demo(options)))
  program
    .command('run')
    .description('boot a kernel; ends with the guest')
    .argument('[KERNEL]', "bzImage, vmlinux, .deb, or a Debian package's name; default: Debian's cloud kernel")
    .option('--initrd <FILE>', 'initramfs; default: busybox and a shell')
    .option(
      '--disk <FILE[,HOW]>',
      'raw image as a disk; HOW: readonly, or cow (changes are forgotten); repeatable',
      collect,
    )
    .option('--net <NETWORK>', "a network card; 'user': a small network with DHCP and a gateway; repeatable", collect)
    .option('--append <TEXT>', "added to the kernel's command line")
    .option('--memory <SIZE>', 'guest memory, as 512M or 2G', '512M')
    .option('--cpus <N>', 'virtual processors, which take turns', '1')
    .option('--cpu <MODEL>', 'processor model')
    .option('--on <PLATFORM>', 'what the machine pretends to be; default: native, or the only one that will do')
    .option('--features <LIST>', "changes to the platform's features, as pv-eoi,no-steal-time")
    .option('--exec <COMMAND>', 'run a command in the default initramfs, print its output, exit with its code')
    .option('--timeout <SECONDS>', 'give up after this time')
    .option('--no-reboot', 'end when the guest resets itself, instead of booting it again')
    .option('--system-map <FILE>', "symbols for a panic's backtrace, if the kernel carries none")
    .option('--qemu-test-devices', 'isa-debug-exit at 0xf4, pc-testdev and fw_cfg, for test kernels')
    .option('--trace <KINDS>', 'print requests: cpuid, msr, hypercalls, commands, counters, memory, ports, rings, all')
    .option('--trace-file <FILE>', 'write the trace there, as lines of JSON')
    .option('--count [WHAT]', "print how often each request was made; 'all': also what the kernel did without asking")
    .option('--stats', 'print instructions, time, memory and translation to stderr at the end')
    .option('--gdb <ADDRESS>', 'let GDB debug the guest: :1234, or HOST:1234')
    .option('--wait', 'with --gdb: do not run before GDB says so')
    .option('--snapshot <FILE>', 'where Ctrl-A W saves the machine, for restore')
    .option('--snapshot-when <TEXT>', 'save it when the console shows this, and end')
    .option('--hot <N>', 'count what translated code does, and list the N regions that did most at the end')
    .option('--hot-wasm <FOLDER>', 'with --hot: write the WebAssembly text of these regions there')

    .addHelpText(
      'after',
      examples(
        "paravirt run --exec 'uname -a'",
        "paravirt run --on kvm --cpus 4 --exec 'cat /proc/interrupts'",
        'paravirt run --on hyperv --trace hypercalls,msr',
        "paravirt run linux-image-6.1.0-50-amd64 --append 'mitigations=off' --memory 1G",
        'paravirt run ./vmlinux --initrd ./initrd.img --timeout 60',
        'paravirt run ./linux-image-6.1.0-50-amd64_6.1.176-1_amd64.deb',
        "paravirt run -kernel bzImage -append 'quiet' -m 1G -smp 2 -nographic -no-reboot",
      ),
    )
    .action(async (kernel: string | undefined, options: RunOptions) =>
      finish(await (await import('./run.ts')).run(kernel, options)),
    )
  program
    .command('restore')
    .description('go on from a snapshot; ends with the guest')
    .argument('<FILE>', 'what run --snapshot or the library has saved, with this version')
    .option('--timeout <SECONDS>', 'give up after this time')
    .option('--disk <FILE[,HOW]>', 'the disks that the machine had, as they were then, as for run', collect)
    .option('--net <NETWORK>', 'the network cards that it had, as for run', collect)
    .option('--snapshot <FILE>', 'where Ctrl-A W saves the machine; default: the same file')
    .option('--stats', 'print instructions, time, memory and translation to stderr at the end')
    .addHelpText(
      'after',
      examples("paravirt run --on kvm --snapshot shell.snap --snapshot-when '~ # '", 'paravirt restore shell.snap'),
    )
    .action(async (file: string, options: RestoreOptions) =>
      finish(await (await import('./restore.ts')).restore(file, options)),
    )
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
    .option('--deterministic', 'time passes with instructions executed: a boot is the same each time')
    .option('--jobs <N>', 'boots at once; default: as many as there are processors and memory for')
    .option('--expect <FILE>', 'assertions about the boots, in JSON (docs/matrix.md)')
    .option('--shard <I/N>', 'only part I of N, for several machines')
    .option('--merge', 'boot nothing; the arguments are files that --json wrote on each of them')
    .option('--tap', 'write TAP instead of the table')
    .option('--json', 'write everything as JSON instead of the table')
    .option('--junit <FILE>', 'also write JUnit XML')
    .option('--html <FILE>', 'also write one page with table, timelines and consoles')

    .addHelpText(
      'after',
      examples(
        'paravirt matrix',
        'paravirt matrix bzImage --platforms native,kvm --html matrix.html',
        'paravirt matrix linux-image-amd64 linux-image-6.12-amd64 --cpus 4',
        'git bisect run paravirt matrix arch/x86/boot/bzImage --timeout 120',
        'paravirt matrix bzImage --shard 2/3 --json > part2.json',
        'paravirt matrix --merge part*.json --expect expect.json --junit junit.xml',
      ),
    )
    .action(async (kernels: string[], options: MatrixOptions) =>
      finish(await (await import('./matrix.ts')).matrix(kernels, options)),
    )
  program
    .command('ops')
    .description(
      "what the kernel's own pv_ops holds on each platform, how its call sites were patched, what reached the host",
    )
    .argument('[KERNEL]', "as for run; default: Debian's cloud kernel")
    .option('--platforms <LIST>', 'only these')
    .option('--op <PATTERN>', 'only operations whose name matches this regular expression, as ^mmu')
    .option('--count', 'also count what reaches no host: instructions, page tables, shared memory; interpreted')
    .option('--system-map <FILE>', 'symbols of a kernel that does not carry those of its data')
    .option('--json', 'write JSON instead of the table')
    .option('--memory <SIZE>', 'memory of each guest', '512M')
    .option('--cpus <N>', 'virtual processors of each guest', '2')
    .option('--append <TEXT>', "added to the kernel's command line")
    .option('--exec <COMMAND>', 'shell command in user space, before the tables are read')
    .option('--timeout <SECONDS>', 'of the host, for each boot', '600')
    .option('--jobs <N>', 'boots at once; default: as many as there are processors and memory for')
    .addHelpText(
      'after',
      examples(
        "paravirt ops --op 'cr3|msr'",
        'paravirt ops linux-image-6.12-amd64 --platforms kvm --count',
        'paravirt ops vmlinux --system-map System.map --json',
      ),
    )
    .action(async (kernel: string | undefined, options: OpsOptions) =>
      finish(await (await import('./ops.ts')).ops(kernel, options)),
    )
  program
    .command('stat')
    .description(
      "a guest while it runs: requests a second, exits by reason with their mean cost, the kernel's hot functions",
    )
    .argument('[KERNEL]', "as for run; default: Debian's cloud kernel")
    .option('--on <PLATFORM>', 'what the machine pretends to be', 'native')
    .option('--interval <SECONDS>', 'between two looks', '1')
    .option('--memory <SIZE>', 'guest memory', '512M')
    .option('--cpus <N>', 'virtual processors', '1')
    .option('--append <TEXT>', "added to the kernel's command line")
    .option('--initrd <FILE>', 'initramfs; default: busybox and --exec')
    .option('--exec <COMMAND>', 'shell command in user space; its output goes to stdout, the figures to stderr')
    .option('--timeout <SECONDS>', 'give up after this time')
    .addHelpText('after', examples("paravirt stat --on hyperv --cpus 2 --exec 'seq 100000 | sha256sum'"))
    .action(async (kernel: string | undefined, options: StatOptions) =>
      finish(await (await import('./stat.ts')).stat(kernel, options)),
    )
  program
    .command('trace')
    .description('print, filter and sum up a trace that run --trace-file wrote, or show where two boots part')
    .argument('<FILE>', 'the trace')
    .argument('[OTHER]', 'another one: only what differs is printed, and the exit code is 1 if anything does')
    .option('--name <PATTERN>', 'only requests whose name matches this regular expression')
    .option('--kind <LIST>', 'only these: cpuid, msr, hypercall, command, counter, memory, port')
    .option('--vcpu <N>', "only this vCPU's")
    .option('--from <SECONDS>', "from this moment of the guest's time on")
    .option('--to <SECONDS>', 'until this moment')
    .option('--errors', 'only those that were answered by an error')
    .option('--summary', 'how often each was made, how often in vain, when first and last')
    .addHelpText(
      'after',
      examples(
        'paravirt run --on hyperv --exec true --trace all --trace-file a.json',
        'paravirt trace a.json --summary',
        "paravirt trace a.json --name 'SYNIC|HYPERCALL' --to 0.5",
        'paravirt trace a.json b.json',
      ),
    )
    .action(async (file: string, other: string | undefined, options: TraceFileOptions) => {
      const { lines, differ } = (await import('./trace-file.ts')).traceFile(file, other, options)
      print(lines)
      finish(differ ? ExitCode.DIFFERENT : ExitCode.OK)
    })
  program
    .command('platforms')
    .description('what there is to run a kernel on, with its features (in brackets: off unless asked for)')
    .option('--json', 'write JSON')
    .addHelpText('after', examples('paravirt platforms'))
    .action(async ({ json }: { json?: true }) => {
      print((await import('./platforms.ts')).platformLines(json === true))
      finish(ExitCode.OK)
    })
  program
    .command('inspect')
    .description('what a kernel is: entries, notes, symbols, configuration, and which --on can work and why not')
    .argument('[KERNEL]', "as for run; default: Debian's cloud kernel")
    .option('--config', 'print the configuration that it carries')
    .option('--json', 'write JSON')
    .addHelpText('after', examples('paravirt inspect linux-image-6.12-amd64', 'paravirt inspect vmlinux --config'))
    .action(async (kernel: string | undefined, options: InspectOptions) => {
      print(await (await import('./inspect.ts')).inspect(kernel, options))
      finish(ExitCode.OK)
    })
  program
    .command('doctor')
    .description('is all there that a boot needs, and what to do about what is not')
    .addHelpText('after', examples('paravirt doctor'))
    .action(async () => {
      const findings = await (await import('./doctor.ts')).doctor()
      print(findings.map(({ state, text }) => `${state.padEnd(5)} ${text}`))
      finish(findings.some(({ state }) => state === 'wrong') ? ExitCode.DIFFERENT : ExitCode.OK)
    })
  program
    .command('explain')
    .description('what a request is, by name or number, or all that a platform can be asked')
    .argument('<NAME>', 'MSR_KVM_SYSTEM_TIME_NEW, 0x40000020, kvm, ...')
    .addHelpText(
      'after',
      examples('paravirt explain MSR_KVM_STEAL_TIME', 'paravirt explain 0x40000020', 'paravirt explain hyperv'),
    )
    .action(async (name: string) => {
      print((await import('./explain.ts')).explain(name))
      finish(ExitCode.OK)
    })
  return program
}
