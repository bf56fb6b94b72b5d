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
