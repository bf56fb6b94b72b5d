/**
 * The test kernels of guests/platforms, which ask a hypervisor: what they write must be what test/guests/platforms
 * says, interpreted, translated and with a turn for each instruction. Those of KVM, VMware, Hyper-V and Xen must ask all
 * that is declared, get every error and no other, and (NAME-off) find nothing where the feature is off. Xen PV's is
 * guests/xen with guests/xen/every, and guests/xen/narrow for 32 bits.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Disk, MemoryDisk } from '../src/backends/disk.ts'
import { UserNetwork } from '../src/backends/network/user.ts'
import { loadKernel } from '../src/boot/kernel.ts'
import type { MachineOptions } from '../src/machine/types.ts'
import { definitions, type PlatformName } from '../src/platforms/index.ts'
import { Assist } from '../src/platforms/xen/hypercalls/vm-assist.ts'
import { Mmuext } from '../src/platforms/xen/mm/mmuext-op.ts'
import { Callback } from '../src/platforms/xen/pv/callbacks.ts'
import { buildGuest, buildNarrowXenCalls, buildXenCalls } from './guests/build.ts'
import { answersIn, isUndeclared, wantedAnswers } from './guests/requests.ts'
import { runHere } from './guests/run.ts'

const folder = join(import.meta.dirname, 'guests/platforms')
const guests = readdirSync(folder).map((file) => basename(file, '.txt'))
const complete: readonly PlatformName[] = ['kvm', 'vmware', 'hyperv', 'xen-hvm', 'xen-pvh', 'xen-pv', 'xen-pv32']

/** What no guest of its kind can be answered, and why. */
/** What takes a thousand requests, or a node of the host's: src/platforms/xen/store/errors.test.ts asks it. */
const many = [
  'XS_DIRECTORY E2BIG',
  ...['DIRECTORY', 'READ', 'GET_PERMS', 'DIRECTORY_PART', 'RM', 'MKDIR', 'TRANSACTION_END'].map(
    (x) => `XS_${x} ENOSPC`,
  ),
  ...['WATCH', 'WRITE', 'MKDIR', 'SET_PERMS'].map((name) => `XS_${name} ENOMEM`),
]
/** Of 64-bit guests. */
const wide = [
  'XENMEM_claim_pages ENOSYS',
  'XENMEM_machphys_mfn_list EOPNOTSUPP',
  ...['', ' EFAULT'].map((error) => `XENMEM_machphys_compat_mfn_list${error}`),
]
const hvm = [
  ...many,
  ...wide,
  ...[' EINVAL', ' EFAULT'].map((error) => `XENMEM_acquire_resource${error}`), // 32 bits
  'EVTCHNOP_reset EBUSY', // vCPUs take turns, and one that goes on with it has the next
  'HVMOP_get_mem_type EINVAL', // PV
  'mmuext_op',
]
const pv = [
  ...many,
  'EVTCHNOP_reset EBUSY',
  // Of HVM: all is refused before it is looked at.
  ...['set', 'get'].map((what) => `XENMEM_${what}_pod_target EPERM`),
  ...['', ' EINVAL', ' EILSEQ', ' EOVERFLOW'].map((error) => `XENMEM_add_to_physmap${error}`),
  ...['', ' EINVAL', ' EILSEQ'].map((error) => `XENMEM_add_to_physmap_batch${error}`),
  ...['', ' ENOENT'].map((error) => `XENMEM_remove_from_physmap${error}`),
  ...['', ' EPERM', ' ENODEV'].map((error) => `HVMOP_set_param${error}`),
  ...['', ' EPERM'].map((error) => `HVMOP_get_param${error}`),
  'HVMOP_get_mem_type',
  ...['', ' ENOENT', ' EFAULT'].map((error) => `HVMOP_set_evtchn_upcall_vector${error}`),
  'HVMOP_flush_tlbs',
  'PHYSDEVOP_pirq_eoi_gmfn_v1', // there can be one page, which is that of _v2
]
const impossible: Readonly<Partial<Record<PlatformName, readonly string[]>>> = {
  'xen-hvm': hvm,
  'xen-pvh': hvm,
  'xen-pv': [
    ...wide,
    ...pv,
    'XENMEM_machine_memory_map EFAULT', // 32 bits
    'set_segment_base ENOSYS', // 32 bits
  ],
  'xen-pv32': [
    ...pv,
    // Of 64 bits: what has an address that is none, an upper half of a register, a base.
    ...['CALLBACKOP_register', 'XENNMI_register_callback', 'set_trap_table', 'set_debugreg'].map(
      (name) => `${name} EINVAL`,
    ),
    ...['', ' EINVAL'].map((error) => `set_segment_base${error}`),
    ...[' EFAULT', ' EINVAL', ' EPERM'].map((error) => `XENMEM_claim_pages${error}`),
    ...['', '_compat'].map((which) => `XENMEM_machphys${which}_mfn_list EOPNOTSUPP`),
  ],
}

/** xen-pvh is a platform's name, kvm-off is not. */
const platformOf = (guest: string) => guest.replace(/(-(off|indirect|calls))?\d+$/, '') as PlatformName
const ofPv = (guest: string) => platformOf(guest) === 'xen-pv'
function kernelOf(guest: string) {
  const narrow = platformOf(guest) === 'xen-pv32'
  return loadKernel(
    narrow ? buildNarrowXenCalls() : ofPv(guest) ? buildXenCalls() : buildGuest(`platforms/${guest}`),
    guest,
  )
}

/** What is off for a guest of a platform that is asked everything; all else is on. */
function without(guest: string, all: readonly string[]): readonly string[] {
  if (guest.includes('-off')) return all
  if (guest === 'hyperv-indirect64') return ['stimer-direct', 'xmm-input']
  return guest === 'xen-pvh64' || guest === 'xen-hvm64' ? ['verbose-debug'] : []
}

/** For guests that ask for everything: a disk that can discard, one that cannot, a network. */
function devicesOf(guest: string): Pick<MachineOptions, 'devices'> {
  if (!platformOf(guest).startsWith('xen') || !(guest.includes('-calls') || ofPv(guest))) return {}
  const raw: Disk = {
    size: 64 * 512,
    readOnly: false,
    read: () => {},
    write: () => {},
    flush: (done) => done(),
    close: () => {},
  }
  return { devices: { disks: [new MemoryDisk(new Uint8Array(64 * 512)), raw], networks: [new UserNetwork().plug()] } }
}

async function optionsOf(guest: string) {
  const platform = platformOf(guest)
  const names = complete.includes(platform) ? Object.keys(definitions[platform].features) : []
  const off = without(guest, names)
  const features = names.map((name) => (off.includes(name) ? `no-${name}` : name))
  const kernel = await kernelOf(guest)
  return { platform, cpus: 2, features, boot: { kernel, cmdline: ofPv(guest) ? 'io=1' : '' } }
}

function exitOf(guest: string): string {
  if (guest.includes('-calls') || ofPv(guest)) return 'power-off'
  return guest === 'hyperv64' ? 'reset' : 'triple-fault'
}

describe.runIf(spawnSync('gcc', ['--version']).status === 0)('test kernels of platforms', () => {
  test.for(guests)('%s', { timeout: 300_000 }, async (name) => {
    const options = await optionsOf(name)
    const wanted = readFileSync(join(folder, `${name}.txt`), 'utf8').split('\n')
    const lines = wanted.filter((line) => line !== '' && !line.startsWith('##'))
    for (const [what, more] of [
      ['interpreted', { translate: false }],
      ['translated', { translate: 'eager' }],
      ['one instruction a slice', { observe: { every: 1, at() {} } }],
    ] as const) {
      const { lines: written, exit } = await runHere(options.boot.kernel, { ...options, ...devicesOf(name), ...more })
      expect(written, what).toEqual(lines)
      expect(exit).toBe(exitOf(name))
    }
  })

  test.for(complete)('those of %s ask everything and get every error', { timeout: 300_000 }, async (platform) => {
    const came = new Set<string>()
    const undeclared = new Set<string>()
    for (const name of guests.filter((guest) => platformOf(guest) === platform)) {
      const options = await optionsOf(name)
      await runHere(options.boot.kernel, { ...options, ...devicesOf(name) }, (event) => {
        for (const answer of answersIn(event, name.includes('-off'))) came.add(answer)
        if (isUndeclared(event)) undeclared.add(`${event.request.name} ${event.result}`)
      })
    }
    const never = impossible[platform] ?? []
    expect(
      wantedAnswers(definitions[platform].requests)
        .filter((each) => !came.has(each))
        .sort(),
    ).toEqual([...never].sort())
    expect([...undeclared]).toEqual([])
  })

  test('that of Xen PV makes every operation of a hypercall that has several, and comes by every way in', () => {
    const text = readFileSync(join(folder, 'xen-pv64.txt'), 'utf8')
    const missing = [
      ...Object.keys(Mmuext).map((name) => `\n${name}: mmuext_op `),
      ...Object.values(Assist).map((type) => `\ntype ${type.toString(16)}: vm_assist 0`),
      ...Object.values(Callback).map((type) => `\ntype ${type}: CALLBACKOP_register 0`),
      ...['0', '1', '3', '4', '6', '7', 'b', 'c', 'd', 'e', '10', '11', '13', '80'].map((v) => `vector ${v} error`),
      'user: syscall',
      'let in: vector 100',
      'NMI: vector 2',
      'began by failsafe',
      'system_enter, user: syscall',
    ].filter((each) => !text.includes(each))
    expect(missing).toEqual([])
  })
})
