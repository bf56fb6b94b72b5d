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
].join('\n')

const args = ['run', ...process.argv.slice(2)]
if (!process.stdin.isTTY || !process.stdout.isTTY) {
  process.stderr.write('start: no terminal, so this is a demonstration: Debian boots, runs this, and ends:\n')
  process.stderr.write(demonstration.replace(/^/gm, '  $ ') + '\n')
  args.push('--exec', demonstration, '--timeout', '600')
}

process.argv.splice(2, process.argv.length, ...args)
await import('../src/cli/main.ts')
