/** Names of architectural bits that several procedures use: EFLAGS, control registers, EFER, vectors (SDM Vol. 3A 2). */

export const FLAG_CF: u32 = 1
export const FLAG_PF: u32 = 1 << 2
export const FLAG_AF: u32 = 1 << 4
export const FLAG_ZF: u32 = 1 << 6
export const FLAG_SF: u32 = 1 << 7
export const FLAG_TF: u32 = 1 << 8
export const FLAG_IF: u32 = 1 << 9
export const FLAG_DF: u32 = 1 << 10
export const FLAG_OF: u32 = 1 << 11
export const FLAG_IOPL: u32 = 3 << 12
export const FLAG_NT: u32 = 1 << 14
export const FLAG_RF: u32 = 1 << 16
export const FLAG_VM: u32 = 1 << 17
export const FLAG_AC: u32 = 1 << 18
export const FLAG_ID: u32 = 1 << 21
/** CF PF AF ZF SF OF: held by the lazy triple. */
export const FLAGS_ARITHMETIC: u32 = 0x8d5
/** All of the low 16 that are not reserved. */
export const FLAGS_16: u32 = 0x7fd5

export const CR0_PE: u64 = 1
export const CR0_MP: u64 = 1 << 1
export const CR0_EM: u64 = 1 << 2
export const CR0_TS: u64 = 1 << 3
export const CR0_ET: u64 = 1 << 4
export const CR0_NE: u64 = 1 << 5
export const CR0_WP: u64 = 1 << 16
export const CR0_AM: u64 = 1 << 18
export const CR0_NW: u64 = 1 << 29
export const CR0_CD: u64 = 1 << 30
export const CR0_PG: u64 = 1 << 31

export const CR4_TSD: u64 = 1 << 2
export const CR4_DE: u64 = 1 << 3
export const CR4_PSE: u64 = 1 << 4
export const CR4_PAE: u64 = 1 << 5
export const CR4_MCE: u64 = 1 << 6
export const CR4_PGE: u64 = 1 << 7
export const CR4_PCE: u64 = 1 << 8
export const CR4_OSFXSR: u64 = 1 << 9
export const CR4_OSXMMEXCPT: u64 = 1 << 10
export const CR4_UMIP: u64 = 1 << 11
export const CR4_FSGSBASE: u64 = 1 << 16
export const CR4_PCIDE: u64 = 1 << 17
export const CR4_OSXSAVE: u64 = 1 << 18
export const CR4_SMEP: u64 = 1 << 20
export const CR4_SMAP: u64 = 1 << 21

export const EFER_SCE: u64 = 1
export const EFER_LME: u64 = 1 << 8
export const EFER_LMA: u64 = 1 << 10
export const EFER_NXE: u64 = 1 << 11
export const EFER_AIBRSE: u64 = 1 << 21 // AMD: automatic IBRS

export const DE: i32 = 0
export const DB: i32 = 1
export const NMI: i32 = 2
export const UD: i32 = 6
export const DF: i32 = 8
export const TS: i32 = 10
export const NP: i32 = 11
export const SS: i32 = 12
export const GP: i32 = 13
export const PF: i32 = 14
export const AC: i32 = 17

/** Segment register numbers. */
export const SEG_ES: u32 = 0
export const SEG_CS: u32 = 1
export const SEG_SS: u32 = 2
export const SEG_DS: u32 = 3
export const SEG_FS: u32 = 4
export const SEG_GS: u32 = 5
export const SEG_LDTR: u32 = 6
export const SEG_TR: u32 = 7
