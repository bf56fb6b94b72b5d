/**
 * `npm start`: at a terminal the default guest's shell; without one a short demonstration, which boots the same guest,
 * runs some commands in it and ends with its exit code.
 */
const demonstration = [
  'uname -srm',
  'cat /proc/version',
  "grep -m 1 'model name' /proc/cpuinfo",
  'free -m',
  "dmesg | grep -m 1 'Booting paravirtualized kernel'",
  'seq 1000 | sha256sum',
]
/** Each command is shown before its output. */
const script = demonstration.map((line) => `echo '$ ${line.replaceAll("'", `'\\''`)}'\n${line}`).join('\n')

const args = ['run', ...process.argv.slice(2)]
if (!process.stdin.isTTY || !process.stdout.isTTY) {
  process.stderr.write('start: there is no terminal: Debian boots, runs some commands, and ends\n')
  args.push('--exec', script, '--timeout', '600')
}

process.argv.splice(2, process.argv.length, ...args)
await import('../src/cli/main.ts')
