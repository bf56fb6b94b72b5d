/** The procedures' entry point: what handlers and the host may call. One file per concern, re-exported here. */
export * from './faults'
export {
  loadBytes, probeWrite, slowLoad, slowLoad16, slowStore, slowStore16, storeBytes, sysLoad, sysStore,
} from './access'
export { fetchCheck, lookup } from './fetch'
export { segLinear } from './linear'
export { beforeWrite, physCopyIn, physCopyOut, physFill, physRead, physWrite } from './physical'
export {
  dropExec, flushAll, flushExec, flushNonGlobal, flushPage, flushPcid, notifyMarked, resetTlb, setBank,
  switchAddressSpace,
} from './tlb'
export { loadPdptes } from './walk'
export {
  sseArith32, sseArith64, sseCheck, sseCmp32, sseCmp64, sseComi32, sseComi64, sseFromInt32, sseFromInt64, sseNarrow,
  sseRcp32, sseRound32, sseRound64, sseRsqrt32, sseToInt32, sseToInt64, sseWiden,
} from './sse-float'
export {
  sseApproximate, sseCmpPacked32, sseCmpPacked64, sseConvert, sseDot32, sseDot64, ssePacked32, ssePacked64,
  sseRoundPacked32, sseRoundPacked64,
} from './sse-float-packed'
