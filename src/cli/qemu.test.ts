import { expect, test } from 'vitest'
import { fromQemu } from './qemu.ts'

const words = (text: string) => text.split(' ')

test.each([
  ['run -kernel bzImage -initrd i.gz -m 1G -smp 4', 'run bzImage --initrd i.gz --memory 1G --cpus 4'],
  ['-kernel bzImage -nographic -no-reboot', 'run bzImage --no-reboot'],
  ['run -m size=512 -smp cpus=2,cores=2 k', 'run --memory 512 --cpus 2 k'],
  ['run -serial mon:stdio -display none -accel tcg k', 'run k'],
  ['run --memory 1G k --append quiet', 'run --memory 1G k --append quiet'],
  ['-kernel bzImage -s -S', 'run bzImage --gdb :1234 --wait'],
  ['run -gdb tcp::9000 -S k', 'run --gdb :9000 --wait k'],
  ['run -h', 'run -h'],
  ['-V', '-V'],
  ['matrix -m k', 'matrix -m k'],
  ['--version', '--version'],
])('%s', (qemu, ours) => {
  expect(fromQemu(words(qemu))).toEqual(words(ours))
})

test('a command line with spaces stays one word', () => {
  expect(fromQemu(['run', '-append', 'console=ttyS0 quiet', '-kernel', 'k'])).toEqual([
    'run',
    '--append',
    'console=ttyS0 quiet',
    'k',
  ])
})

test.each([
  ['run -enable-kvm', '-enable-kvm: paravirt brings its own processor; for a guest of KVM say --on kvm'],
  ['run -hda disk.img', '-hda: say --disk FILE'],
  ['run -machine q35', '-machine: say --on with a platform of paravirt platforms'],
  ['run -serial tcp:1', '-serial tcp:1: the terminal is the serial port'],
  ['run -smp lots', '-smp lots: write -smp 4 or --cpus 4'],
  ['run -m', "option '-m' argument missing"],
])('%s is refused, and says what to do', (qemu, message) => {
  expect(() => fromQemu(words(qemu))).toThrow(message)
})
