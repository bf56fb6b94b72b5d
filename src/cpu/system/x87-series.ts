/**
 * Power series of the transcendental instructions in 128-bit fixed point. Tables hold fractions of 2^128, low word
 * first, truncated; a value of 1 is all ones. Each series is cut where its terms fall below 2^-124.
 */
import { addWide, multiplyWide, shiftRightWide, subtractWide } from './x87-fixed'

/** 1 / (2k + 1)! */
const SINE: usize = memory.data<u64>([
  0xffffffffffffffff, 0xffffffffffffffff, 0xaaaaaaaaaaaaaaaa, 0x2aaaaaaaaaaaaaaa,
  0x2222222222222222, 0x0222222222222222, 0x00d00d00d00d00d0, 0x000d00d00d00d00d,
  0x671f5583911ca002, 0x00002e3bc74aad8e, 0x138e3f9d1f92e0df, 0x0000006b99159fd5,
  0x43684be51c198e91, 0x00000000b092309d, 0x399dc0f88ec32b58, 0x0000000000d73f9f,
  0x3b81856a53593028, 0x000000000000ca96, 0xa4da340a0ab92650, 0x0000000000000097,
  0x5c6e3bdb73d5c62f, 0x0000000000000000, 0x002ec368262c7033, 0x0000000000000000,
  0x000013f3ccdd165f, 0x0000000000000000, 0x0000000746ac70b7, 0x0000000000000000,
  0x00000000024b3f31, 0x0000000000000000, 0x000000000000a1a6, 0x0000000000000000,
])

/** 1 / (2k)! */
const COSINE: usize = memory.data<u64>([
  0xffffffffffffffff, 0xffffffffffffffff, 0x0000000000000000, 0x8000000000000000,
  0xaaaaaaaaaaaaaaaa, 0x0aaaaaaaaaaaaaaa, 0x05b05b05b05b05b0, 0x005b05b05b05b05b,
  0xa01a01a01a01a01a, 0x0001a01a01a01a01, 0xd71cbbc05b4fa999, 0x0000049f93edde27,
  0x6c4bdaa26d4c3d67, 0x00000008f76c77fc, 0x603e4e905d6f8a2e, 0x000000000c9cba54,
  0xf399dc0f88ec32b5, 0x00000000000d73f9, 0x3c31dcbecbbdd802, 0x0000000000000b41,
  0x950ae900808941ea, 0x0000000000000007, 0x04338e5b6dfe14a5, 0x0000000000000000,
  0x0001f2cf01972f57, 0x0000000000000000, 0x000000c4742fe352, 0x0000000000000000,
  0x0000000042862898, 0x0000000000000000, 0x000000000013932c, 0x0000000000000000,
])

/** ln(2)^(k + 1) / (k + 1)! */
const EXPONENTIAL: usize = memory.data<u64>([
  0xc9e3b39803f2f6af, 0xb17217f7d1cf79ab, 0xde2d60dd92e6bf95, 0x3d7f7bff058b1d50,
  0x99d3b15d995e96f7, 0x0e35846b82505fc5, 0x39977c16a7dd58a0, 0x0276556df749cee5,
  0x41c5fda69452fb0c, 0x005761ff9e299cc4, 0xb7a58544c3591a0f, 0x000a184897c363c3,
  0x34358a8e643ec734, 0x0000ffe5fe2c4586, 0x23fd8ffe606da77c, 0x0000162c0223a5c8,
  0x7c3da4a70e5a4ff9, 0x000001b5253d395e, 0x8ec9f6fda1d952e7, 0x0000001e4cf5158b,
  0x1bb24c0f57995e47, 0x00000001e8cac735, 0xfc2985e2b5687e17, 0x000000001c3bd650,
  0x166d0f96281ac300, 0x0000000001816193, 0x4d5878a973f14362, 0x0000000000131496,
  0x421d82010f33d8ab, 0x000000000000e1b7, 0x44d73cfc59c91c7f, 0x00000000000009c7,
  0x1112d070969f5587, 0x0000000000000066, 0xee2ed7b686d2bae6, 0x0000000000000003,
  0x24b4fd9706b8c9b5, 0x0000000000000000, 0x0145acc4b5051358, 0x0000000000000000,
  0x000abfe2bc1f04e3, 0x0000000000000000, 0x000056b3eb4dc077, 0x0000000000000000,
  0x0000029cea2bb931, 0x0000000000000000, 0x0000001351aaf6cb, 0x0000000000000000,
  0x00000000891f7eca, 0x0000000000000000, 0x0000000003a7d785, 0x0000000000000000,
  0x0000000000180669, 0x0000000000000000, 0x0000000000009841, 0x0000000000000000,
  0x00000000000003a3, 0x0000000000000000, 0x0000000000000015, 0x0000000000000000,
])

/** 1 / (2 ln(2) (2k + 1)) */
const LOGARITHM: usize = memory.data<u64>([
  0xbe87fed0691d3e88, 0xb8aa3b295c17f0bb, 0x3f82aa45785f14d8, 0x3d8e13b87407fae9,
  0x594e6629ae9f72e8, 0x24eed8a1df37fcf2, 0x645c921dc5df9b38, 0x1a61762a7aded93f,
  0x6a80e36c7d7506f2, 0x1484b13d7c02a8f8, 0x5723a2cd20d41cf5, 0x10c9a84994022d28,
  0x711e274b1bc72c31, 0x0e347ab4698bb00e, 0x731a220de4dfd0f8, 0x0c4f9d8b4a67fefb,
  0xa1cbc3b1e810c771, 0x0adcd64dba1f86a1, 0x4d65793363d91e3d, 0x09b81e0fa687ff32,
  0x76c98609ec9fde68, 0x08cb27637e4a486a, 0x77969bc6475a50a1, 0x080766bf04010a77,
  0xab76146ebc864a2e, 0x0762f8205fd7ff63, 0xce2af6797f270250, 0x06d6e5bf29563852,
  0x67ac69e3e05074ea, 0x065e2559b3ba3470, 0xe51d294087851288, 0x05f4f9a67ed77b60,
  0x1d0be0ef0af15efc, 0x05988d6ddc00b9b8, 0x7a78ea05f45febd8, 0x0546b13bb22c91d9,
  0xe9794c1378766979, 0x04fdae926a45d612, 0x7b0a0d1909426410, 0x04bc28e6cdd93aaf,
  0xcc73b50b53bc07c4, 0x048107afd689f323, 0xe0b5c4700271cbdf, 0x044b6695cc8f70c2,
  0x7bb360af4c4a9afd, 0x041a89d918cd54fe, 0x19d751ad490b840d, 0x03edd5af2d88adf9,
])

/** 1 / (2k + 1) */
const ARCTANGENT: usize = memory.data<u64>([
  0xffffffffffffffff, 0xffffffffffffffff, 0x5555555555555555, 0x5555555555555555,
  0x3333333333333333, 0x3333333333333333, 0x4924924924924924, 0x2492492492492492,
  0xc71c71c71c71c71c, 0x1c71c71c71c71c71, 0x745d1745d1745d17, 0x1745d1745d1745d1,
  0x3b13b13b13b13b13, 0x13b13b13b13b13b1, 0x1111111111111111, 0x1111111111111111,
  0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f, 0xe50d79435e50d794, 0x0d79435e50d79435,
  0xc30c30c30c30c30c, 0x0c30c30c30c30c30, 0x42c8590b21642c85, 0x0b21642c8590b216,
  0xa3d70a3d70a3d70a, 0x0a3d70a3d70a3d70, 0xed097b425ed097b4, 0x097b425ed097b425,
  0xd3dcb08d3dcb08d3, 0x08d3dcb08d3dcb08,
])

/** atan(k / 8) */
const ANGLES: usize = memory.data<u64>([
  0x0000000000000000, 0x0000000000000000, 0x5912f313e7d111de, 0x1fd5ba9aac2f6dc6,
  0x5b71e7bd7de885f9, 0x3eb6ebf25901bac5, 0xc55190916e7f2241, 0x5bd86507937bc239,
  0xb7f222f65e1d4681, 0x76b19c1586ed3da2, 0x5c835e1665c43747, 0x8f005d5ef7f59f9b,
  0x19a87f2a457dac9e, 0xa4bc7d1934f70924, 0xcb2da55210a4443d, 0xb8053e2bc2319e73,
  0xc4c6628b80dc1cd1, 0xc90fdaa22168c234,
])

@inline
function series(table: usize, terms: u32, z: v128, alternating: bool): v128 {
  let sum = v128.load(table + (terms - 1) * 16)
  for (let k: i32 = terms - 2; k >= 0; k--) {
    const coefficient = v128.load(table + k * 16), rest = multiplyWide(sum, z)
    sum = alternating ? subtractWide(coefficient, rest) : addWide(coefficient, rest)
  }
  return sum
}

/** sin(x) / x for z = x^2, x up to pi / 4. */
export function sineSeries(z: v128): v128 {
  return series(SINE, 16, z, true)
}

/** cos(x) likewise. */
export function cosineSeries(z: v128): v128 {
  return series(COSINE, 16, z, true)
}

/** (2^x - 1) / x for |x| < 1. */
export function exponentialSeries(x: v128, negative: bool): v128 {
  return negative ? series(EXPONENTIAL, 30, x, true) : series(EXPONENTIAL, 30, x, false)
}

/** log2((1 + s) / (1 - s)) / (4 s) for z = s^2, s up to 3 - 2 sqrt(2). */
export function logarithmSeries(z: v128): v128 {
  return series(LOGARITHM, 24, z, false)
}

/** atan(u) / u for z = u^2, u up to 1 / 16. */
export function arctangentSeries(z: v128): v128 {
  return series(ARCTANGENT, 15, z, true)
}

/** atan(k / 8), k from 0 to 8, in units of 2^-126. */
export function arctangentOfEighths(k: u32): v128 {
  return shiftRightWide(v128.load(ANGLES + k * 16), 2)
}
