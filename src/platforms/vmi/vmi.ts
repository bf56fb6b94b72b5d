/** What VMI keeps for a machine and for each of its vCPUs. */
import type { Effects } from '../../paravirt/effects.ts'
import type { Stateful, Transfer } from '../../snapshot/stateful.ts'
import { Alarms } from './alarms.ts'
import { Processors } from './processors.ts'
import { PageTables } from './tables.ts'

export class Vmi implements Stateful {
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

  transfer(state: Transfer): void {
    state.part('alarms', this.alarms)
    state.part('processors', this.processors)
    state.part('tables', this.tables)
  }
}
