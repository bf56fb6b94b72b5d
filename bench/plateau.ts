/**
 * `node bench/plateau.ts [LAPS]`: this machine's Debian Python runs in the guest: each lap compiles some of its library
 * to byte code and does some arithmetic, text and JSON. After each, the resident memory of this process and what the
 * translator has made: both must come to rest. Needs the package python3.
 */
import { execFileSync } from 'node:child_process'
import { globSync, readFileSync, realpathSync } from 'node:fs'
import { loadKernel } from '../src/boot/kernel.ts'
import { buildInitramfs } from '../src/initramfs/build.ts'
import { Machine } from '../src/machine/machine.ts'
import { busyboxFile, DEFAULT_KERNEL, kernelFile } from '../src/packages/debian.ts'

const laps = Number(process.argv[2] ?? 20)
const python = realpathSync('/usr/bin/python3')
const library = python.replace('/bin/', '/lib/')

const work = `
import glob, json, re
names = sorted(glob.glob('${library}/*.py'))[:30]
for lap in range(${laps}):
    code = 0
    for name in names:
        with open(name, encoding='utf8', errors='replace') as f: text = f.read()
        try: code += len(compile(text, name, 'exec').co_code)
        except SyntaxError: pass
        code += len(re.findall(r'\\bdef (\\w+)', text))
    table = {str(i): [i * k % 97 for k in range(20)] for i in range(2000)}
    code += len(json.dumps(json.loads(json.dumps(table)))) + sum(int(str(2 ** i)[-3:]) for i in range(1000))
    print('lap', lap, code, flush=True)
`

/** The libraries that the binary loads, as ldd says. */
const needed = (file: string): string[] =>
  [...execFileSync('ldd', [file], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path!)
const modules = globSync(`${library}/lib-dynload/*.so`)
const sources = globSync(`${library}/**/*.py`).filter((path) => !/\/(test|idlelib|lib2to3)\//.test(path))
const paths = new Set([...sources, ...modules, ...[python, ...modules].flatMap(needed)])
const contents = (path: string, mode: number) => ({ mode: 0o100000 | mode, bytes: readFileSync(path) })
const files = new Map([...paths].map((path) => [path, contents(path, 0o755)]))
files.set('/usr/bin/python3', contents(python, 0o755))
files.set('/work.py', { mode: 0o100644, bytes: Buffer.from(work) })
const initrd = buildInitramfs({
  busybox: readFileSync(await busyboxFile('amd64')),
  files,
  exec: 'PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 /work.py >/dev/console 2>&1',
})

let text = ''
const machine = await Machine.create({
  memory: 768 << 20,
  cpu: 'inorder',
  platform: 'native',
  boot: { kernel: await loadKernel(await kernelFile(DEFAULT_KERNEL)), initrd, cmdline: 'console=ttyS0 quiet panic=-1' },
  serial: {
    com1(bytes) {
      const lines = (text + Buffer.from(bytes).toString('latin1')).split('\n')
      text = lines.pop()!
      for (const line of lines) {
        const { user, system } = process.cpuUsage()
        const { regions, modules: made, evictions } = machine.core.translator!.stats
        const rss = (process.memoryUsage.rss() / 1048576).toFixed(0)
        const spent = ((user + system) / 1e6).toFixed(1)
        console.log(
          `${line.trim()}: ${rss} MiB, ${spent} s, ${regions} regions, ${made} modules, ${evictions} evictions`,
        )
      }
    },
  },
})
await machine.run()
