/**
 * The core: memory, procedures, interpreter and decoder joined. What it cannot do itself it asks of a `CoreHost`.
 * `runSlice` tells the story of a vCPU: deliver what is pending, run until something needs attention, say why it
 * stopped.
 */
import { compiledInterpreter, compiledSystem, ownInterpreter } from './compiled.ts'
import { Exit, Leave, M, S } from './layout.ts'
import { AbsentPages } from './absent.ts'
import { Streams } from './decode/streams.ts'
import type { Interpreter } from './interpreter/build.ts'
import { SLICE_MARGIN } from './interpreter/records.ts'
import { Translator, type Translate } from './translator/translator.ts'

/** What the core asks of the machine; `vcpu` is the vCPU's number. */
export interface CoreHost {
  mmioRead(vcpu: number, address: number, size: number): number
  mmioWrite(vcpu: number, address: number, size: number, value: number): void
  portIn(vcpu: number, port: number, size: number): number
  portOut(vcpu: number, port: number, size: number, value: number): void
  /** The MSR's value, or undefined for #GP(0). */
  rdmsr(vcpu: number, index: number): bigint | undefined
  /** False for #GP(0). */
  wrmsr(vcpu: number, index: number, value: bigint): boolean
  /** A performance counter that code of any privilege may read, or undefined for #GP(0). */
  rdpmc?(vcpu: number, index: number): bigint | undefined
  /** [EAX, EBX, ECX, EDX] of a leaf. */
  cpuid(vcpu: number, leaf: number, subleaf: number): readonly [number, number, number, number]
  /** VMCALL (0), VMMCALL (1) or a Xen PV kernel's SYSCALL (2): false for #UD; `again`: the instruction has not ended, it is executed once more. */
  hypercall(vcpu: number, kind: number): boolean | 'again'
  /** Virtual time stamp counter, an integer. */
  tsc(vcpu: number): number
  readCr8(vcpu: number): number
  writeCr8(vcpu: number, value: number): void
  random(vcpu: number): number
  /** A store to a WATCHED page is about to happen; `attribute` is the page's PAGE_ATTR. */
  watchedStore?(vcpu: number, address: number, size: number, value: number, attribute: number): void
  /** A load from a READS page is about to happen. */
  watchedLoad?(vcpu: number, address: number, size: number): void
  /** A vCPU of a Xen PV domain did what crashes the domain: a `PvCrash`. */
  pvCrash?(vcpu: number, reason: number): void
  /** The frame of a page of the vCPU's LDT, 0 if it cannot hold descriptors. */
  pvLdt?(vcpu: number, page: number): number
  /** The core does hypercall `number` itself, which answers `result`. */
  pvNote?(vcpu: number, number: number, result: number): void
  /** The guest's kernel loads CR3 with a frame: false for #GP(0). */
  pvRoot?(vcpu: number, frame: number): boolean
  /** A store of 1 to 8 bytes by a PV guest's kernel to a page that it may only read: false, the fault is the guest's. */
  pvStore?(vcpu: number, address: number, size: number, low: number, high: number): boolean
  /** The vector to inject now, or -1 if the interrupt went away. */
  acknowledge(vcpu: number): number
}

export interface SystemExports {
  deliver(p: number): void
  deliverInterrupt(p: number, vector: number): void
  deliverNmi(p: number): void
  resetVcpu(p: number, signature: number): void
  initVcpu(p: number, signature: number): void
  startVcpu(p: number, vector: number): void
  /** Non-zero: a fault waits in EXC. */
  iret(p: number, size: number): number
  refreshState(p: number): void
  endStep(p: number, flags: number): void
  setBank(p: number): void
  fetchCheck(p: number, linear: bigint): bigint
  notifyMarked(page: number): void
  dropExec(p: number): void
  reindexExec(p: number): void
  parkAbsent(p: number): void
  settleTlb(p: number): void
  flushAll(p: number): void
  flushPage(p: number, linear: bigint): void
  slowLoad(p: number, linear: bigint, size: number): bigint
  slowStore(p: number, linear: bigint, size: number, value: bigint): number
  probeWrite(p: number, linear: bigint, size: number): number
  physicalOf(p: number, low: number, high: number, write: number): number
  pvEnter(p: number, kind: number): void
  pvEvents(p: number): void
  pvLoadFpu(p: number): void
  pvKernelRoot(p: number, root: bigint): void
  pvUserRoot(p: number, root: bigint): void
  freshenRoot(p: number, root: bigint): void
  flushRoots(p: number): void
  pvSetLdt(p: number): void
  pvGetDebug(p: number, index: number): bigint
  pvSetDebug(p: number, index: number, value: bigint): number
  pvTaskSwitch(p: number, set: number): void
  setSegmentBase(p: number, which: number, base: bigint): bigint
  pvStackSwitch(p: number, ss: number, sp: bigint): void
  hypercallIret(p: number): void
  raise(p: number, vector: number, error: number): void
  raiseNoError(p: number, vector: number): void
  updateMode(p: number): void
  getFlags(p: number): number
  setFlags(p: number, bits: number): void
  readEflags(p: number): number
  [name: string]: CallableFunction
}

interface InterpreterExports extends WebAssembly.ModuleImports {
  run(p: number): void
  step(p: number): void
  finish(p: number): void
}

/** Instructions between two samples of where the vCPU is: the fewest, and the most where all is translated. */
const SAMPLE = 8_000
const MAX_SAMPLE = 16 * SAMPLE
const FLAG_TF = 0x100
const FLAG_IF = 0x200

export class Core {
  readonly memory: WebAssembly.Memory
  readonly u8: Uint8Array
  readonly i32: Int32Array
  readonly u64: BigUint64Array
  readonly ramBytes: number
  readonly vcpus: readonly number[]
  /** Pages of RAM that are not in memory yet. */
  readonly absent: AbsentPages
  readonly streams: Streams
  readonly system: SystemExports
  readonly translator: Translator | undefined
  readonly #interpreter: InterpreterExports
  readonly #host: CoreHost
  /** What is to be done at the next instruction boundary. */
  #boundary: (() => void) | undefined
  /** What the running slice has beyond BUDGET, which ends at the next sample. */
  #rest = 0
  /** Instructions until the next sample that are not in BUDGET yet. */
  #unsampled = SAMPLE
  /** Instructions from the last sample to the next. */
  #interval = SAMPLE

  private constructor(parts: {
    memory: WebAssembly.Memory
    ramBytes: number
    vcpus: readonly number[]
    absent: AbsentPages
    streams: Streams
    system: SystemExports
    translator: Translator | undefined
    interpreter: InterpreterExports
    host: CoreHost
  }) {
    this.memory = parts.memory
    this.u8 = new Uint8Array(parts.memory.buffer)
    this.i32 = new Int32Array(parts.memory.buffer)
    this.u64 = new BigUint64Array(parts.memory.buffer)
    this.ramBytes = parts.ramBytes
    this.vcpus = parts.vcpus
    this.absent = parts.absent
    this.streams = parts.streams
    this.system = parts.system
    this.translator = parts.translator
    this.#interpreter = parts.interpreter
    this.#host = parts.host
  }

  /** A core with `ramBytes` of guest RAM (a multiple of 4096) and vCPUs in their reset state. */
  static async create(options: {
    ramBytes: number
    vcpus: number
    signature: number
    amd?: boolean
    host: CoreHost
    interpreter?: Interpreter | undefined
    translate?: Translate | undefined
    /** Translated regions that there are at most, if not the translator's own limit. */
    regions?: number | undefined
    /** Regions count what they do: `translator.profile`. */
    profile?: boolean | undefined
    /** Nothing happens at a time that depends on the host. */
    deterministic?: boolean | undefined
  }): Promise<Core> {
    const { ramBytes, host } = options
    const pages = Math.ceil((M.RAM + ramBytes) / 65536)
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
    const i32 = new Int32Array(memory.buffer)
    const memory8 = new Uint8Array(memory.buffer)
    const vcpus = Array.from({ length: options.vcpus }, (_, i) => M.VCPU + i * M.VCPU_STRIDE)
    i32[M.RAM_PAGES >> 2] = ramBytes >>> 12
    i32[M.VCPUS >> 2] = vcpus.length

    const built = options.interpreter ?? (await ownInterpreter())
    const [systemModule, interpreterModule] = await Promise.all([compiledSystem(), compiledInterpreter(built)])
    const absent = new AbsentPages(memory)
    let streams: Streams
    const { translate = false, deterministic = false } = options
    const translator = new Translator(memory, built, absent, {
      eager: translate === 'eager',
      asynchronous: !deterministic && translate !== 'eager',
      limit: options.regions,
      profile: options.profile,
      alone: vcpus.length === 1,
    })
    const number = (p: number) => ((p >>> 0) - M.VCPU) / M.VCPU_STRIDE
    const register = (p: number, offset: number) => (p + offset) >> 2
    const setRegister = (p: number, offset: number, value: number) => {
      i32[register(p, offset)] = value
      i32[register(p, offset) + 1] = 0
    }
    const answer = (p: number, value: bigint | undefined): number => {
      if (value === undefined) return 0
      i32[register(p, S.HOST_LO)] = Number(BigInt.asIntN(32, value))
      i32[register(p, S.HOST_HI)] = Number(BigInt.asIntN(32, value >> 32n))
      return 1
    }
    const imports = {
      mmioRead: (p: number, address: number, size: number) => host.mmioRead(number(p), address, size),
      mmioWrite: (p: number, address: number, size: number, value: number) =>
        host.mmioWrite(number(p), address, size, value >>> 0),
      portIn: (p: number, port: number, size: number) => host.portIn(number(p), port, size),
      portOut: (p: number, port: number, size: number, value: number) =>
        host.portOut(number(p), port, size, value >>> 0),
      rdmsr: (p: number, index: number) => answer(p, host.rdmsr(number(p), index >>> 0)),
      rdpmc: (p: number, index: number) => answer(p, host.rdpmc?.(number(p), index >>> 0)),
      wrmsr: (p: number, index: number) => {
        const lo = (i32[register(p, S.HOST_LO)] as number) >>> 0
        const hi = (i32[register(p, S.HOST_HI)] as number) >>> 0
        return host.wrmsr(number(p), index >>> 0, (BigInt(hi) << 32n) | BigInt(lo)) ? 1 : 0
      },
      cpuid: (p: number) => {
        const [a, b, c, d] = host.cpuid(
          number(p),
          (i32[register(p, S.RAX)] as number) >>> 0,
          (i32[register(p, S.RCX)] as number) >>> 0,
        )
        setRegister(p, S.RAX, a)
        setRegister(p, S.RBX, b)
        setRegister(p, S.RCX, c)
        setRegister(p, S.RDX, d)
      },
      hypercall: (p: number, kind: number) => {
        const done = host.hypercall(number(p), kind)
        return done === 'again' ? 2 : done ? 1 : 0
      },
      tsc: (p: number) => host.tsc(number(p)),
      readCr8: (p: number) => host.readCr8(number(p)),
      writeCr8: (p: number, value: number) => host.writeCr8(number(p), value),
      random: (p: number) => host.random(number(p)),
      watchedStore: (p: number, address: number, size: number, value: number) =>
        host.watchedStore?.(number(p), address >>> 0, size, value, memory8[M.PAGE_ATTR + (address >>> 12)] as number),
      watchedLoad: (p: number, address: number, size: number) => host.watchedLoad?.(number(p), address >>> 0, size),
      pvCrash: (p: number, reason: number) => host.pvCrash?.(number(p), reason),
      pvLdt: (p: number, page: number) => host.pvLdt?.(number(p), page) ?? 0,
      pvNote: (p: number, call: number, result: number) => host.pvNote?.(number(p), call, result),
      pvRoot: (p: number, frame: number) => (host.pvRoot?.(number(p), frame) ? 1 : 0),
      pvStore: (p: number, address: number, size: number) => {
        const low = (i32[register(p, S.HOST_LO)] as number) >>> 0
        const high = (i32[register(p, S.HOST_HI)] as number) >>> 0
        return host.pvStore?.(number(p), address >>> 0, size, low, high) ? 1 : 0
      },
      bring: (page: number) => absent.bring(page >>> 0),
      decode: (p: number) => streams.decode(p >>> 0),
      indexTable: (p: number, page: number) => streams.indexTable(p >>> 0, page >>> 0),
      codeWritten: (_p: number, page: number) => streams.codeWritten(page >>> 0),
      recross: (p: number, r: number) => streams.recross(p >>> 0, r >>> 0),
      regions: translator.regions,
    }
    const system = (
      await WebAssembly.instantiate(systemModule, {
        env: {
          memory,
          abort: () => {
            throw new Error('the core aborted')
          },
        },
        host: imports,
      })
    ).exports as unknown as SystemExports
    const interpreter = (
      await WebAssembly.instantiate(interpreterModule, {
        env: { memory },
        system: system as unknown as WebAssembly.ModuleImports,
        host: imports,
      })
    ).exports as unknown as InterpreterExports
    streams = new Streams(memory, built, system, absent, () => vcpus)
    if (translate) {
      translator.connect(streams, system as unknown as WebAssembly.ModuleImports, interpreter)
      streams.onDrop = translator
    }
    vcpus.forEach((p, index) => {
      system.resetVcpu(p, options.signature)
      i32[register(p, S.INDEX)] = index
      i32[register(p, S.AMD)] = options.amd ? 1 : 0
    })
    return new Core({
      memory,
      ramBytes,
      vcpus,
      absent,
      streams,
      system,
      translator: translate ? translator : undefined,
      interpreter,
      host,
    })
  }

  /** Copy bytes into guest RAM before the guest runs or as a device would: decoded code is dropped where it changes. */
  writeRam(address: number, bytes: Uint8Array): void {
    this.changing(address, bytes.length)
    this.u8.set(bytes, M.RAM + address)
  }

  /** Whoever stores into guest RAM by himself says so before: decoded code is dropped. */
  changing(address: number, length: number): void {
    if (address < 0 || address + length > this.ramBytes)
      throw new RangeError(`guest RAM ends at ${this.ramBytes}, not at ${address + length}`)
    this.absent.need(address, length)
    for (let page = address >>> 12; page <= (address + length - 1) >>> 12; page++)
      if (this.i32[(M.CODE_MARKS >> 2) + 2 * page] !== 0 || this.i32[(M.CODE_MARKS >> 2) + 2 * page + 1] !== 0) {
        this.streams.codeWritten(page)
        for (const p of this.vcpus) this.#leave(p, Leave.CODE)
      }
  }

  /** Guest RAM at [address, address + length) as a view. */
  ram(address: number, length: number): Uint8Array {
    if (address < 0 || address + length > this.ramBytes)
      throw new RangeError(`guest RAM ends at ${this.ramBytes}, not at ${address + length}`)
    this.absent.need(address, length)
    return this.u8.subarray(M.RAM + address, M.RAM + address + length)
  }

  /** Ports that code of any privilege may use while EAX is `key`, whatever IOPL and the TSS say. */
  openPorts(first: number, count: number, key: number): void {
    for (const p of this.vcpus) {
      this.i32[(p + S.OPEN_PORTS) >> 2] = first | (count << 16)
      this.i32[(p + S.OPEN_KEY) >> 2] = key
    }
  }

  /** Make a vCPU look at its interrupts at the next instruction boundary. */
  kick(vcpu: number): void {
    this.#leave(this.vcpus[vcpu] as number, Leave.EVENT)
  }

  #leave(p: number, why: number): void {
    const at = (p + S.LEAVE) >> 2
    this.i32[at] = (this.i32[at] as number) | why
  }

  /** Do this when the vCPU that runs has stored its state at the next instruction boundary, then go on from there. */
  atBoundary(vcpu: number, callback: () => void): void {
    this.#boundary = callback
    this.kick(vcpu)
  }

  /** Make the running slice of a vCPU end at the next instruction boundary with `exit`. */
  stop(vcpu: number, exit: number): void {
    const p = this.vcpus[vcpu] as number
    this.i32[(p + S.EXIT) >> 2] = exit
    this.#leave(p, Leave.HOST)
  }

  /** Instructions left of the slice that is running; exact whenever the core calls its host. */
  budgetLeft(vcpu: number): number {
    return this.#budget(this.vcpus[vcpu] as number) + this.#rest
  }

  /** Its low word: a slice is shorter than 2^31 instructions. */
  #budget(p: number): number {
    return this.i32[(p + S.BUDGET) >> 2] as number
  }

  #setBudget(p: number, left: number): void {
    this.i32[(p + S.BUDGET) >> 2] = left
    this.i32[(p + S.BUDGET + 4) >> 2] = left >> 31
  }

  /**
   * Run a vCPU for exactly `budget` instructions, unless it stops before: returns an `Exit`. `budgetLeft` says what
   * remains.
   */
  runSlice(vcpu: number, budget: number): number {
    const p = this.vcpus[vcpu] as number
    const i32 = this.i32
    const field = (offset: number) => i32[(p + offset) >> 2] as number
    this.#setBudget(p, 0)
    this.#rest = budget
    if (this.translator?.eager) this.#unsampled = 0
    const pv = field(S.PV) !== 0
    // A turn begins as a return from the hypervisor.
    if (pv && field(S.EXC) < 0) this.system.pvEvents(p)
    for (;;) {
      if (this.#boundary) {
        const callback = this.#boundary
        this.#boundary = undefined
        callback()
      }
      if (field(S.EXC) >= 0) this.system.deliver(p)
      const leave = field(S.LEAVE)
      i32[(p + S.LEAVE) >> 2] = 0
      if (leave & Leave.HOST) {
        // What this slice leaves is not executed: the next sample is as far away as it was.
        this.#unsampled += Math.max(0, this.#budget(p))
        return field(S.EXIT)
      }
      let left = this.#budget(p)
      if (left + this.#rest <= 0) return Exit.BUDGET
      if (left <= SLICE_MARGIN && this.#rest > 0) {
        // With breakpoints nothing is translated.
        if (this.#unsampled === 0 && this.streams.breaks) this.#unsampled = SAMPLE
        if (this.#unsampled === 0) {
          // Each sample ends a region, so they are rarer while regions are all that runs.
          const translated = this.translator?.sample(p, this.#interval / SAMPLE)
          this.#interval = translated ? Math.min(2 * this.#interval, MAX_SAMPLE) : SAMPLE
          this.#unsampled = this.#interval
        }
        const more = Math.min(this.#rest, this.#unsampled)
        this.#unsampled -= more
        this.#rest -= more
        left += more
        this.#setBudget(p, left)
      }
      const flags = field(S.SYSFLAGS)
      const shadow = field(S.SHADOW)
      if (!shadow) {
        if (field(S.NMI_PENDING) && !field(S.NMI_BLOCKED)) {
          this.system.deliverNmi(p)
          continue
        }
        if (pv && field(S.IRQ_PENDING)) {
          i32[(p + S.IRQ_PENDING) >> 2] = 0
          this.system.pvEvents(p)
          continue
        }
        if (field(S.IRQ_PENDING) && flags & FLAG_IF) {
          const vector = this.#host.acknowledge(vcpu)
          if (vector >= 0) this.system.deliverInterrupt(p, vector)
          continue
        }
      }
      if (shadow || flags & FLAG_TF) this.#step(p, flags)
      else if (left > SLICE_MARGIN) this.#interpreter.run(p)
      else this.#interpreter.finish(p)
    }
  }

  /** One instruction, with the single-step trap if TF was set before it. */
  #step(p: number, flags: number): void {
    this.i32[(p + S.SHADOW) >> 2] = 0
    this.i32[(p + S.TF_AFTER) >> 2] = 0
    this.#interpreter.step(p)
    if ((this.i32[(p + S.EXC) >> 2] as number) < 0) this.system.endStep(p, flags)
  }
}
