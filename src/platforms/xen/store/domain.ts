/** The nodes of a domain, as libxl 4.17 writes them when it makes one. */
import type { StoreClient, Value } from './client.ts'
import { homeOf } from './paths.ts'

export interface DomainNodes {
  readonly domain: number
  /** As text. */
  readonly uuid: string
  readonly name: string
  readonly vcpus: number
  /** KiB. */
  readonly maximum: number
  readonly target: number
  /** Event-channel ports and frames of the two rings that the builder has made. */
  readonly store: { readonly port: number; readonly frame: number }
  readonly console: { readonly port: number; readonly frame: number }
}

/** What the guest may write; the rest of its home it may only read. */
const writable = [
  'device/suspend/event-channel',
  'control/shutdown',
  'control/feature-poweroff',
  'control/feature-reboot',
  'control/feature-suspend',
  'control/sysrq',
  'data',
  'drivers',
  'feature',
  'attr',
  'error',
]

/** xenconsoled's buffer. */
const CONSOLE_LIMIT = 1048576

export function writeDomain(client: StoreClient, nodes: DomainNodes): void {
  const { domain, uuid, name, vcpus, maximum, target, store, console } = nodes
  const home = homeOf(domain)
  const readOnly = ['n0', `r${domain}`]
  const make = (path: string, permissions: readonly string[]) => {
    client.mkdir(path)
    client.setPermissions(path, permissions)
  }
  client.transaction(() => {
    const vm = `/vm/${uuid}`
    make(home, readOnly)
    make(vm, readOnly)
    client.write(`${home}/vm`, vm)
    client.write(`${home}/name`, name)
    for (const folder of ['cpu', 'memory', 'device', 'control']) make(`${home}/${folder}`, readOnly)
    for (const path of writable) make(`${home}/${path}`, [`n${domain}`])
    client.write(`${vm}/uuid`, uuid)
    client.write(`${vm}/name`, name)
    for (const feature of ['multiprocessor-suspend', 'xs_reset_watches'])
      client.write(`${home}/control/platform-feature-${feature}`, 1)
  })
  client.transaction(() => {
    const entries: Record<string, Value> = {
      'memory/static-max': maximum,
      'memory/target': target,
      'memory/videoram': -1,
      domid: domain,
      'store/port': store.port,
      'store/ring-ref': store.frame,
    }
    for (let i = 0; i < vcpus; i++) entries[`cpu/${i}/availability`] = 'online'
    for (const [path, value] of Object.entries(entries)) client.write(`${home}/${path}`, value)
  })
  addDevice(client, {
    domain,
    kind: 'console',
    id: 0,
    frontend: {},
    fixed: {
      'backend-id': 0,
      'ring-ref': console.frame,
      port: console.port,
      limit: CONSOLE_LIMIT,
      type: 'xenconsoled',
      output: 'pty',
      tty: '',
    },
    backend: { 'frontend-id': domain, online: 1, state: 1, protocol: 'vt100' },
  })
}

export interface DeviceNodes {
  readonly domain: number
  readonly kind: 'console' | 'vbd' | 'vif'
  readonly id: number
  /** The guest's own nodes. */
  readonly frontend: Readonly<Record<string, Value>>
  /** Nodes beside them that it can only read. */
  readonly fixed?: Readonly<Record<string, Value>>
  readonly backend: Readonly<Record<string, Value>>
}

export const frontendOf = ({ domain, kind, id }: Pick<DeviceNodes, 'domain' | 'kind' | 'id'>): string =>
  kind === 'console' && id === 0 ? `${homeOf(domain)}/console` : `${homeOf(domain)}/device/${kind}/${id}`
export const backendOf = ({ domain, kind, id }: Pick<DeviceNodes, 'domain' | 'kind' | 'id'>): string =>
  `${homeOf(0)}/backend/${kind}/${domain}/${id}`

/** Frontend and backend of a device appear at once. */
export function addDevice(client: StoreClient, device: DeviceNodes): void {
  const front = frontendOf(device)
  const back = backendOf(device)
  const own = [`n${device.domain}`, 'r0']
  const foreign = ['n0', `r${device.domain}`]
  const write = (path: string, entries: Readonly<Record<string, Value>>, permissions: readonly string[]) => {
    for (const [name, value] of Object.entries(entries)) {
      client.write(`${path}/${name}`, value)
      client.setPermissions(`${path}/${name}`, permissions)
    }
  }
  client.transaction(() => {
    client.mkdir(front)
    client.setPermissions(front, device.kind === 'console' && device.id === 0 ? foreign : own)
    client.write(`${front}/backend`, back)
    write(front, device.frontend, own)
    write(front, device.fixed ?? {}, foreign)
    client.mkdir(back)
    client.setPermissions(back, foreign)
    client.write(`${back}/frontend`, front)
    write(back, device.backend, foreign)
  })
}
