/** Guest memory in a region: the TLB's comparison inline, a procedure that walks on a miss, else leave. */
import type { Access, Address, Effect, Value } from '../isa/ir.ts'
import { accessOf, loadOp, storeOp } from '../isa/emitter.ts'
import { S } from '../layout.ts'
import { RegionFlags } from './flags.ts'
import { P } from './state.ts'

export abstract class RegionMemory extends RegionFlags {
  #linear(address: Address): number {
    const known = this.locals.get(address.value)
    if (known !== undefined) return known
    const local = this.pool.take('i64')
    this.use(address.value)
    this.c.set(local)
    return local
  }

  /** The host address of an access in a local: from the TLB, else by the procedure, else leave. */
  protected hostOf(address: Address, bytes: number, part: number, procedure: string, result?: Value): number {
    const c = this.c
    const a = this.#linear(address)
    const entry = this.tlbMatch(a, bytes, part)
    const host = this.pool.take('i32')
    c.hint(true)
    this.open('if')
    this.hostAddress(a, entry)
    c.set(host)
    c.else()
    c.get(P).get(a).i32(bytes).call(this.procedure(procedure)).tee(host).op('i32.eqz')
    const write = procedure === 'tryWrite'
    this.bail(write ? 'write' : 'read', (counters) => counters.access(c, P, a, bytes, write))
    // The walk may have given the address space a generation of its own.
    c.get(P).mem('i64.load', S.GEN).set(this.local.gen)
    this.close()
    if (result) this.locals.set(result, host)
    return host
  }

  protected loadEffect(e: Extract<Effect, { kind: 'load' }>): void {
    const host = this.hostOf(e.address, e.bytes, S.TLB_READ, 'tryRead')
    this.c.get(host).mem(loadOp(accessOf(e.result.ty, e.bytes)), 0)
    this.assign(e.result)
  }

  protected storeEffect(e: Extract<Effect, { kind: 'store' }>): void {
    const host = e.probe ? undefined : this.hostOf(e.address, e.bytes, S.TLB_WRITE, 'tryWrite')
    if (host === undefined) this.use(e.probe as Value)
    else this.c.get(host)
    this.use(e.value)
    const { ty } = e.value
    this.c.mem(storeOp(ty === 'v128' || ty === 'f32' || ty === 'f64' ? ty : ((e.bytes * 8) as Access), ty), 0)
  }
}
