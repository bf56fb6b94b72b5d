/** The interfaces that are played against a model. */
import * as hyperv from './hyperv.ts'
import { playRequests, type Report, unreached } from './runner.ts'

/** Play at least this many requests; returns what happened, and which declared requests and errors did not. */
type Play = (requests: number, seed: number) => { readonly report: Report; readonly unreached: readonly string[] }

export const scenarios: Readonly<Record<string, Play>> = {
  hyperv: (requests, seed) => {
    const report = playRequests(hyperv.scenario, requests, seed)
    return { report, unreached: unreached(hyperv.scenario.requests, report) }
  },
}
