/**
 * What the core asks of the host, declared once for AssemblyScript. Every call may set LEAVE bits in the state block
 * (a device that raised an interrupt, a platform that wants to stop). 64-bit guest values travel as two words in
 * HOST_LO/HOST_HI; physical addresses as f64, exact to 2^53.
 */

/** MMIO read of 1, 2 or 4 bytes, zero-extended. */
@external("host", "mmioRead")
export declare function hostMmioRead(p: u32, pa: f64, size: i32): i32
@external("host", "mmioWrite")
export declare function hostMmioWrite(p: u32, pa: f64, size: i32, value: i32): void
/** A store of `size` bytes to a WATCHED page is about to happen; the low 4 bytes of the value, or 0 for a longer one. */
@external("host", "watchedStore")
export declare function hostWatchedStore(p: u32, pa: u32, size: i32, value: i32): void
/** A load of `size` bytes from a READS page is about to happen. */
@external("host", "watchedLoad")
export declare function hostWatchedLoad(p: u32, pa: u32, size: i32): void
/** Bring an absent page of RAM into memory: its PAGE_ATTR. */
@external("host", "bring")
export declare function hostBring(page: u32): u32
/** Port read of 1, 2 or 4 bytes, zero-extended. */
@external("host", "portIn")
export declare function hostPortIn(p: u32, port: i32, size: i32): i32
@external("host", "portOut")
export declare function hostPortOut(p: u32, port: i32, size: i32, value: i32): void
/** MSR that the core does not hold itself: value in HOST_LO/HOST_HI; 0 means #GP(0). */
@external("host", "rdmsr")
export declare function hostRdmsr(p: u32, index: u32): i32
@external("host", "wrmsr")
export declare function hostWrmsr(p: u32, index: u32): i32
/** Performance counter of the host's: value in HOST_LO/HOST_HI; 0 means #GP(0). */
@external("host", "rdpmc")
export declare function hostRdpmc(p: u32, index: u32): i32
/** CPUID: reads and writes RAX, RBX, RCX, RDX in the state block. */
@external("host", "cpuid")
export declare function hostCpuid(p: u32): void
/** VMCALL, VMMCALL, Xen PV's SYSCALL (kind 0, 1, 2): 0 means #UD, 2 that the instruction is done again. */
@external("host", "hypercall")
export declare function hostHypercall(p: u32, kind: i32): i32
/** Virtual time stamp counter before TSC_OFFSET: an integer. */
@external("host", "tsc")
export declare function hostTsc(p: u32): f64
/** Task priority (CR8) of this vCPU's local APIC. */
@external("host", "readCr8")
export declare function hostReadCr8(p: u32): i32
@external("host", "writeCr8")
export declare function hostWriteCr8(p: u32, value: i32): void
/** 32 random bits. */
@external("host", "random")
export declare function hostRandom(p: u32): i32
/** Decode at RIP (the execute TLB holds its page): the record, or 0 with EXC set. */
@external("host", "decode")
export declare function hostDecode(p: u32): u32
/** Index table (4096 x u32) of a physical page for the current MODE, created if missing. */
@external("host", "indexTable")
export declare function hostIndexTable(p: u32, page: u32): u32
/** Marked lines of a physical page are about to change: drop what was decoded from it, in every mode. */
@external("host", "codeWritten")
export declare function hostCodeWritten(p: u32, page: u32): void
/** A vCPU of a Xen PV domain did what crashes the domain: PV_CRASH_*. */
@external("host", "pvCrash")
export declare function hostPvCrash(p: u32, reason: u32): void
/** Frame number of page `page` of the vCPU's LDT, 0 if it cannot hold descriptors. */
@external("host", "pvLdt")
export declare function hostPvLdt(p: u32, page: u32): u32
/** The core has carried out, or is about to (iret), hypercall `number`; its arguments are in their registers. */
@external("host", "pvNote")
export declare function hostPvNote(p: u32, number: u32, result: i32): void
/** The guest's kernel loads CR3 with the table in frame `mfn`: 0 means #GP(0). */
@external("host", "pvRoot")
export declare function hostPvRoot(p: u32, mfn: f64): i32
/** A store of HOST_HI:HOST_LO to where the guest's kernel may only read: 0 means that it faults. */
@external("host", "pvStore")
export declare function hostPvStore(p: u32, pa: u32, size: i32): i32
