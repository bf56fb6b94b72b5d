/** What VMI keeps for a machine and for each of its vCPUs. */
import type { Effects } from '../../paravirt/effects.ts'
import { Alarms } from './alarms.ts'
import { Processors } from './processors.ts'
import { PageTables } from './tables.ts'

export class Vmi {
  readonly effects: Effects
  readonly alarms: Alarms
  readonly processors: Processors
  readonly tables: PageTables

  constructor(effects: Effects) {
    this.effects = effects
    this.alarms = new Alarms(effects)
    this.processors = new Processors(effects)
    this.tables = new PageTables(effects.memory.pages)
  }
}
