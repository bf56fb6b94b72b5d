/** Debian's Chromium, headless, and the processes that run its pages. */
import { readdirSync, readFileSync } from 'node:fs'
import { chromium, type Page } from 'playwright-core'

const PATH = '/usr/bin/chromium'
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export interface Chromium {
  readonly page: Page
  readonly version: string
  /** Process numbers of the renderers; a page's workers are threads of its renderer. */
  renderers(): number[]
  close(): Promise<void>
}

export async function openChromium(): Promise<Chromium> {
  const server = await chromium.launchServer({ executablePath: PATH, args: FLAGS })
  const browser = await chromium.connect(server.wsEndpoint())
  return {
    page: await browser.newPage(),
    version: browser.version(),
    renderers: () =>
      descendants(server.process().pid!).filter((pid) => text(pid, 'cmdline').includes('--type=renderer')),
    close: () => server.close(),
  }
}

/** proc(5): the fourth field of stat is the parent. */
function descendants(root: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const stat = text(Number(name), 'stat')
    parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]))
  }
  const below = (pid: number): boolean => pid === root || (pid > 1 && below(parents.get(pid) ?? 0))
  return [...parents.keys()].filter(below)
}

/** Empty for a process that has just ended. */
function text(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    return ''
  }
}
