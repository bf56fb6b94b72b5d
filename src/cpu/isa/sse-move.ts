/** Moves between MMX, SSE and general registers and memory, bitwise operations, MXCSR, EMMS (SDM Vol. 2). */
import { S } from '../layout.ts'
import type { Value } from './ir.ts'
import { row } from './row.ts'
import type { Semantics } from './semantics.ts'
import { aligned, alignedAddress, clear64, interleaved, low64, shuffle, simd, units, writeMmx, zero } from './vector.ts'

// ---- whole registers --------------------------------------------------------------------------------------------

/** Lanes of operand 0 are as tame as those of operand 1. */
const copiesTame = (s: Semantics) => {
  if (s.isMem(0) || s.isMem(1)) return
  const lanes = (count: number) => Array.from({ length: count }, (_, lane) => ({ slot: s.vectorSlot(1), lane }))
  s.tame(0, 64, ...lanes(2))
  s.tame(0, 32, ...lanes(4))
}
const loadAligned = (s: Semantics) => {
  simd(s)
  s.write(0, aligned(s, 1))
  copiesTame(s)
}
const storeAligned = (s: Semantics) => {
  simd(s)
  const value = s.read(1)
  if (s.isMem(0)) s.store(alignedAddress(s, true), value, 16)
  else s.write(0, value)
}
const unaligned = (s: Semantics) => {
  simd(s)
  s.write(0, s.read(1))
}
for (const [name, prefix, load, store] of [
  ['movaps', 'NP', '28', '29'],
  ['movapd', '66', '28', '29'],
  ['movdqa', '66', '6F', '7F'],
]) {
  row(`${name}_load`, `${prefix} 0F ${load} /r`, 'Vx,Wx', loadAligned)
  row(`${name}_store`, `${prefix} 0F ${store} /r`, 'Wx,Vx', storeAligned)
}
for (const [prefix, load, store] of [
  ['NP', '10', '11'],
  ['66', '10', '11'],
  ['F3', '6F', '7F'],
]) {
  row('movu', `${prefix} 0F ${load} /r`, 'Vx,Wx', unaligned)
  row('movu', `${prefix} 0F ${store} /r`, 'Wx,Vx', unaligned)
}
row('lddqu', 'F2 0F F0 /r', 'Vx,Mx', unaligned)
row('movnt_store', 'NP 0F 2B /r', 'Mx,Vx', storeAligned)
row('movnt_store', '66 0F 2B /r', 'Mx,Vx', storeAligned)
row('movnt_store', '66 0F E7 /r', 'Mx,Vx', storeAligned)
row('movntdqa', '66 0F 38 2A /r', 'Vx,Mx', loadAligned)

// ---- scalars ----------------------------------------------------------------------------------------------------

/** From memory the rest of the register is cleared, from a register it stays. */
const scalar = (bits: 32 | 64) => (s: Semantics) => {
  simd(s)
  const type = `f${bits}` as const
  const value = s.read(1, type)
  if (s.isMem(0)) s.write(0, value, type)
  else if (s.isMem(1))
    s.write(0, s.op(bits === 64 ? 'f64x2.replace_lane' : 'f32x4.replace_lane', [zero(s), value], [0]), 'v128')
  else {
    s.set(s.vectorSlot(0), type, value)
    s.tame(0, bits, { slot: s.vectorSlot(1), lane: 0 })
  }
}
row('movss', 'F3 0F 10 /r', 'Vd,Wd', scalar(32))
row('movss', 'F3 0F 11 /r', 'Wd,Vd', scalar(32))
row('movsd', 'F2 0F 10 /r', 'Vq,Wq', scalar(64))
row('movsd', 'F2 0F 11 /r', 'Wq,Vq', scalar(64))

row('movq', 'F3 0F 7E /r', 'Vx,Wq', (s) => {
  simd(s)
  s.write(0, clear64(s, s.read(1, 64)))
})
row('movq_store', '66 0F D6 /r', 'Wq,Vq', (s) => {
  simd(s)
  const value = s.read(1, 64)
  if (s.isMem(0)) s.write(0, value, 64)
  else s.write(0, clear64(s, value), 'v128')
})
row('movd', '66 0F 6E /r', 'Vx,Ey', (s) => {
  simd(s)
  s.write(0, clear64(s, s.toI64(s.read(1))))
})
row('movd_store', '66 0F 7E /r', 'Ey,Vx', (s) => {
  simd(s)
  s.write(0, s.read(1, s.size as 32 | 64))
})

// ---- halves -----------------------------------------------------------------------------------------------------

for (const prefix of ['NP', '66']) {
  row('movlp', `${prefix} 0F 12 /r`, 'Vq,Mq', (s) => {
    simd(s)
    s.set(s.vectorSlot(0), 'f64', s.read(1, 'f64'))
  })
  row('movlp_store', `${prefix} 0F 13 /r`, 'Mq,Vq', (s) => {
    simd(s)
    s.write(0, s.read(1, 'f64'), 'f64')
  })
  row('movhp', `${prefix} 0F 16 /r`, 'Vq,Mq', (s) => {
    simd(s)
    s.set(s.vectorSlot(0, 8), 'f64', s.read(1, 'f64'))
  })
  row('movhp_store', `${prefix} 0F 17 /r`, 'Mq,Vq', (s) => {
    simd(s)
    s.write(0, s.get(s.vectorSlot(1, 8), 'f64'), 'f64')
  })
}
row('movhlps', 'NP 0F 12 /r', 'Vq,Uq', (s) => {
  simd(s)
  s.set(s.vectorSlot(0), 'f64', s.get(s.vectorSlot(1, 8), 'f64'))
})
row('movlhps', 'NP 0F 16 /r', 'Vq,Uq', (s) => {
  simd(s)
  s.set(s.vectorSlot(0, 8), 'f64', s.read(1, 'f64'))
})

// ---- duplicates, unpacking, masks ------------------------------------------------------------------------------

for (const [name, encoding, order] of [
  ['movshdup', 'F3 0F 16', [1, 1, 3, 3]],
  ['movsldup', 'F3 0F 12', [0, 0, 2, 2]],
] as const)
  row(name, `${encoding} /r`, 'Vx,Wx', (s) => {
    simd(s)
    const b = aligned(s, 1)
    s.write(0, shuffle(s, b, b, units(4, ...order)))
  })
row('movddup', 'F2 0F 12 /r', 'Vx,Wq', (s) => {
  simd(s)
  s.write(0, s.op('i64x2.splat', [s.read(1, 64)]))
})
for (const [name, prefix, size] of [
  ['ps', 'NP', 4],
  ['pd', '66', 8],
] as const)
  for (const [high, opcode] of [
    [0, '14'],
    [1, '15'],
  ] as const)
    row(`unpck${high ? 'h' : 'l'}${name}`, `${prefix} 0F ${opcode} /r`, 'Vx,Wx', (s) => {
      simd(s)
      const b = aligned(s, 1)
      s.write(0, interleaved(s, s.read(0), b, size, high))
      if (size === 8 && !s.isMem(1))
        s.tame(0, 64, { slot: s.vectorSlot(0), lane: high }, { slot: s.vectorSlot(1), lane: high })
    })
for (const [name, encoding, wasm] of [
  ['movmskps', 'NP 0F 50', 'i32x4.bitmask'],
  ['movmskpd', '66 0F 50', 'i64x2.bitmask'],
  ['pmovmskb', '66 0F D7', 'i8x16.bitmask'],
] as const)
  row(name, `${encoding} /r`, 'Gd,Ux', (s) => {
    simd(s)
    s.write(0, s.op(wasm, [s.read(1)]))
  })

// ---- bitwise ----------------------------------------------------------------------------------------------------

for (const [name, opcode, wasm] of [
  ['and', '54', 'v128.and'],
  ['andn', '55', 'v128.andnot'],
  ['or', '56', 'v128.or'],
  ['xor', '57', 'v128.xor'],
] as const)
  for (const [suffix, prefix] of [
    ['ps', 'NP'],
    ['pd', '66'],
  ] as const)
    row(`${name}${suffix}`, `${prefix} 0F ${opcode} /r`, 'Vx,Wx', (s) => {
      simd(s)
      const b = aligned(s, 1)
      s.write(0, s.op(wasm, name === 'andn' ? [b, s.read(0)] : [s.read(0), b]))
    })

// ---- MMX --------------------------------------------------------------------------------------------------------

/** A store clears TOP first: it stays cleared when the store faults, as on Intel's processors. */
const resetTop = (s: Semantics) => s.setState(S.FSW, 32, s.and(s.state(S.FSW), ~0x3800))

row('movd_mmx', 'NP 0F 6E /r', 'Pq,Ey', (s) => {
  s.attempt('mmxFault')
  writeMmx(s, 0, s.toI64(s.read(1)))
})
row('movd_mmx_store', 'NP 0F 7E /r', 'Ey,Pq', (s) => {
  s.attempt('mmxFault')
  resetTop(s)
  s.write(0, s.read(1, s.size as 32 | 64))
  s.call('mmxEnter', [])
})
row('movq_mmx', 'NP 0F 6F /r', 'Pq,Qq', (s) => {
  s.attempt('mmxFault')
  writeMmx(s, 0, s.read(1))
})
const storeMmx = (s: Semantics) => {
  s.attempt('mmxFault')
  const value = s.read(1)
  if (s.isMem(0)) {
    resetTop(s)
    s.write(0, value)
    s.call('mmxEnter', [])
  } else writeMmx(s, 0, value)
}
row('movq_mmx_store', 'NP 0F 7F /r', 'Qq,Pq', storeMmx)
row('movntq', 'NP 0F E7 /r', 'Mq,Pq', storeMmx)
row('pmovmskb_mmx', 'NP 0F D7 /r', 'Gd,Nq', (s) => {
  s.attempt('mmxFault')
  const value = s.op('i8x16.bitmask', [clear64(s, s.read(1))])
  s.call('mmxEnter', [])
  s.write(0, value)
})
row('movq2dq', 'F3 0F D6 /r', 'Vx,Nq', (s) => {
  simd(s)
  s.attempt('mmxFault')
  const value = clear64(s, s.read(1))
  s.call('mmxEnter', [])
  s.write(0, value)
})
row('movdq2q', 'F2 0F D6 /r', 'Pq,Ux', (s) => {
  simd(s)
  s.attempt('mmxFault')
  writeMmx(s, 0, low64(s, s.read(1, 'v128')))
})
row('emms', 'NP 0F 77', '', (s) => {
  s.attempt('mmxFault')
  s.call('mmxLeave', [])
})

// ---- masked stores ----------------------------------------------------------------------------------------------

/**
 * Bytes whose mask has its top bit set go to DS:rDI. Like Intel's processors this accesses whole quadwords, the high
 * one first; nothing is stored before all is checked.
 */
const masked = (s: Semantics, address: 16 | 32 | 64, offsets: readonly number[]) => {
  const wrap = address === 64 ? -1n : address === 32 ? 0xffffffffn : 0xffffn
  const quadwords = offsets.map((offset) => {
    const value = s.and(s.add(s.reg(S.RDI, 64), BigInt(offset)), wrap)
    const linear = s.linear({ kind: 'segmented', value, stack: false }, 8, true)
    s.attempt('maskedProbe', linear)
    return linear
  })
  offsets.forEach((offset, i) =>
    s.attempt('maskedStore', quadwords[i] as Value, s.add(s.slotAddress(0), offset), s.add(s.slotAddress(1), offset)),
  )
}
for (const bits of [16, 32, 64] as const) {
  row(
    `maskmovdqu_${bits}`,
    '66 0F F7 /r',
    'Vx,Ux',
    (s) => {
      simd(s)
      masked(s, bits, [8, 0])
    },
    { address: bits, dataSegment: true },
  )
  row(
    `maskmovq_${bits}`,
    'NP 0F F7 /r',
    'Pq,Nq',
    (s) => {
      s.attempt('mmxFault')
      s.call('mmxEnter', [])
      masked(s, bits, [0])
    },
    { address: bits, dataSegment: true },
  )
}

// ---- control ----------------------------------------------------------------------------------------------------

row('ldmxcsr', 'NP 0F AE /2', 'Md', (s) => {
  simd(s)
  const value = s.read(0)
  s.fault(s.and(value, ~0xffff), 13, 0)
  s.setState(S.MXCSR, 32, value)
})
row('stmxcsr', 'NP 0F AE /3', 'Md', (s) => {
  simd(s)
  s.write(0, s.state(S.MXCSR))
})
