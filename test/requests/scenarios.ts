/** The interfaces that are played against a model. */
import * as hyperv from './hyperv.ts'
import * as kvm from './kvm.ts'
import * as lguest from './lguest.ts'
import { playRequests, type Report, type Scenario, unreached } from './runner.ts'
import * as vmi from './vmi.ts'
import * as vmware from './vmware.ts'
import * as xenHvm from './xen-hvm.ts'
import * as xenPv from './xen-pv.ts'
import * as xenPvh from './xen-pvh.ts'
import * as xenRings from './xen-rings.ts'

/** Play at least this many requests; returns what happened, and which declared requests and errors did not. */
type Play = (requests: number, seed: number) => { readonly report: Report; readonly unreached: readonly string[] }

const play =
  <Setting, Step>(scenario: Scenario<Setting, Step>): Play =>
  (requests, seed) => {
    const report = playRequests(scenario, requests, seed)
    return { report, unreached: unreached(scenario.requests, report) }
  }

export const scenarios: Readonly<Record<string, Play>> = {
  kvm: play(kvm.scenario),
  vmware: play(vmware.scenario),
  hyperv: play(hyperv.scenario),
  vmi: play(vmi.scenario),
  lguest: play(lguest.scenario),
  'xen-hvm': play(xenHvm.scenario),
  'xen-pvh': play(xenPvh.scenario),
  'xen-pv': play(xenPv.scenario),
  'xen-pv32': play(xenPv.narrowScenario),
  'xen-rings': play(xenRings.scenario),
}
