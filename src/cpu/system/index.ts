/** The procedures' entry point: what handlers and the host may call. One file per concern, re-exported here. */
export * from './faults'
