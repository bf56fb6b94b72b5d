/** The procedures' entry point: what handlers and the host may call. One file per concern, re-exported here. */
export * from './faults'
export {
  loadBytes, probeWrite, slowLoad, slowLoad16, slowStore, slowStore16, storeBytes, sysLoad, sysStore,
} from './access'
export { fetchCheck, lookup } from './fetch'
export { segLinear } from './linear'
export { beforeWrite, physCopyIn, physCopyOut, physFill, physRead, physWrite } from './physical'
export {
  dropExec, flushAll, flushExec, flushNonGlobal, flushPage, flushPcid, flushRoots, freshenRoot, notifyMarked,
  reindexExec, resetTlb, setBank,
  switchAddressSpace,
} from './tlb'
export { parkAbsent, settleTlb } from './parked'
export { loadPdptes } from './walk'
export {
  sseArith32, sseArith64, sseCheck, sseCmp32, sseCmp64, sseComi32, sseComi64, sseFromInt32, sseFromInt64, sseNarrow,
  sseRcp32, sseRound32, sseRound64, sseRsqrt32, sseToInt32, sseToInt64, sseWiden,
} from './sse-float'
export {
  sseApproximate, sseCmpPacked32, sseCmpPacked64, sseConvert, sseDot32, sseDot64, ssePacked32, ssePacked64,
  sseRoundPacked32, sseRoundPacked64,
} from './sse-float-packed'
export { sseQuiet32, sseQuiet64 } from './sse-quiet'
export { checkIo } from './io'
export { cpuid, hypercall, portIn, portOut } from './calls'
export { enter } from './enter'
export { stringOp } from './strings'
export { clac, cli, getFlags, popf, pushfImage, readEflags, setFlags, stac, sti, writeEflags } from './flags'
export { loadSegment, loadSegmentFar, selectorOf, updateMode } from './segments'
export { deliver, deliverInterrupt, deliverNmi, endStep, int1, softInterrupt } from './deliver'
export { farReturn, iret } from './returns'
export { farCall, farJump } from './far'
export { swapgs, syscall, sysenter, sysexit, sysret } from './syscall'
export {
  checkUmip, checkUmipProtected, clts, wbinvd, invlpg, invpcid, lgdt, lidt, lmsw, movFromCr, movFromDr, movToCr, movToDr, needCpl0,
  refreshState, xgetbv, xsetbv,
} from './control'
export { rdmsr, wrmsr } from './msr'
export { hlt, pause, rdpmc, rdrand, rdtsc, rdtscp, readBase, writeBase } from './misc'
export { lar, lldt, lsl, ltr, needProtectedCpl0, verr, verw } from './systemsegments'
export { div, idiv } from './muldiv'
export { initVcpu, resetVcpu, startVcpu } from './reset'
export {
  x87Arith, x87ArithF32, x87ArithF64, x87ArithInt, x87RoundInt, x87Sign, x87Sqrt,
} from './x87-arith'
export { x87Minus, x87Over, x87Plus, x87Times } from './x87-ordinary'
export {
  x87Compare, x87CompareF32, x87CompareF64, x87CompareFlags, x87CompareInt, x87Examine, x87Test,
} from './x87-compare'
export {
  mmxEnter, mmxLeave, x87ClearExceptions, x87Exchange, x87Free, x87Init, x87LoadControl, x87Move, x87Nop, x87Turn,
} from './x87-control'
export { x87Extract, x87Remainder, x87Scale } from './x87-remainder'
export { mmxFault, x87Fault, x87NoWaitFault } from './x87-stack'
export {
  x87LoadBcd, x87LoadConstant, x87LoadExtended, x87LoadF32, x87LoadF64, x87LoadInt, x87LoadRegister, x87StoreGoes,
  x87StoreRegister, x87StoreUnchecked, x87Stored, x87ToBcd, x87ToBcdHigh, x87ToExtended, x87ToExtendedHigh, x87ToF32,
  x87ToF64, x87ToInt,
} from './x87-transfer'
export { maskedProbe, maskedStore } from './masked'
export { crc32 } from './crc32'
export {
  fxLoadX87, fxStoreX87, x87EnvStored, x87LoadEnv, x87LoadStack, x87StoreEnv, x87StoreStack,
} from './x87-image'
export { fxrstor, fxsave } from './fxsave'
export { pvKernelRoot, pvUserRoot } from './pv'
export { setSegmentBase, pvStackSwitch, pvTaskSwitch } from './pv-call'
export { pvGetDebug, pvSetCr4, pvSetDebug } from './pv-emulate'
export { pvEnter, pvLoadFpu, pvSetLdt } from './pv-enter'
export { pvEvents } from './pv-frame'
export { hypercallIret } from './pv-iret'
export { checkXsave, xrstor, xsave } from './xsave'
export { x87Arctangent } from './x87-arctangent'
export { x87Logarithm, x87Power } from './x87-logarithm'
export { x87Sine, x87Tangent } from './x87-trigonometry'
export { compareExplicit, compareImplicit } from './sse-string'
export { aesDecrypt, aesEncrypt, aesInverseMix, aesKey, carrylessMultiply } from './aes'
export { physicalOf, tryRead, tryWrite } from './tried'
export { x87LoadImage, x87StoreImage } from './x87-memory'
