import { describe, expect, test } from 'vitest'
import { fold, sum16, viewOf } from './bytes.ts'
import { completeChecksum, segment } from './offload.ts'

const MSS = 1448

/** A frame with TCP in IPv4 or IPv6, its checksum the sum over the pseudo header, as a guest leaves it. */
function tcp(version: 4 | 6, payload: number, flags = 0x18): Uint8Array {
  const ip = version === 4 ? 20 : 40
  const frame = new Uint8Array(14 + ip + 32 + payload)
  const view = viewOf(frame)
  view.setUint16(12, version === 4 ? 0x0800 : 0x86dd)
  if (version === 4) {
    frame.set([0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2], 14)
    view.setUint16(16, frame.length - 14)
    view.setUint16(24, fold(sum16(frame, 14, 34)))
  } else {
    frame.set([0x60, 0, 0, 0, 0, 0, 6, 64, 0xfe, 0x80], 14)
    view.setUint16(18, frame.length - 54)
    frame[37] = 1
    frame.set([0xfe, 0x80], 38)
    frame[53] = 2
  }
  view.setUint32(14 + ip + 4, 0xfffffff0)
  frame[14 + ip + 12] = 0x80
  frame[14 + ip + 13] = flags
  for (let i = 0; i < payload; i++) frame[14 + ip + 32 + i] = i * 3
  return frame
}

/** What a receiver computes: 0 if all is right. */
function verify(frame: Uint8Array, version: 4 | 6): number {
  const ip = version === 4 ? 20 : 40
  const length = frame.length - 14 - ip
  const addresses = version === 4 ? sum16(frame, 26, 34) : sum16(frame, 22, 54)
  return fold(sum16(frame, 14 + ip, frame.length, addresses + 6 + length))
}

describe.each([4, 6] as const)('IPv%d', (version) => {
  test('a checksum is completed', () => {
    const frame = tcp(version, 101)
    expect(completeChecksum(frame)).toBe(true)
    expect(verify(frame, version)).toBe(0)
  })

  test('a large segment becomes frames', () => {
    const frame = tcp(version, 4000, 0x99)
    const frames = segment(frame, MSS) ?? []
    const header = frame.length - 4000
    expect(frames.map((part) => part.length - header)).toEqual([MSS, MSS, 4000 - 2 * MSS])
    expect(frames.map((part) => verify(part, version))).toEqual([0, 0, 0])
    const tcpAt = header - 32
    expect(frames.map((part) => viewOf(part).getUint32(tcpAt + 4))).toEqual([0xfffffff0, MSS - 16, 2 * MSS - 16])
    // CWR only in the first, FIN and PSH only in the last.
    expect(frames.map((part) => part[tcpAt + 13])).toEqual([0x90, 0x10, 0x19])
    expect(Buffer.concat(frames.map((part) => part.subarray(header)))).toEqual(Buffer.from(frame.subarray(header)))
  })
})

test('each frame of IPv4 has its own header', () => {
  const frames = segment(tcp(4, 3000), MSS) ?? []
  expect(frames.map((part) => viewOf(part).getUint16(18))).toEqual([0x1234, 0x1235, 0x1236])
  expect(frames.map((part) => fold(sum16(part, 14, 34)))).toEqual([0, 0, 0])
  expect(frames.map((part) => viewOf(part).getUint16(16) + 14 - part.length)).toEqual([0, 0, 0])
})

test('what is no TCP or UDP, or is cut off, cannot be done', () => {
  const frame = tcp(4, 10)
  expect(completeChecksum(frame.subarray(0, 50))).toBe(false)
  expect(completeChecksum(new Uint8Array(60))).toBe(false)
  frame[23] = 1
  expect(completeChecksum(frame)).toBe(false)
  expect(segment(frame, MSS)).toBeUndefined()
  const header = tcp(4, 10)
  header[14 + 20 + 12] = 0xf0
  expect(segment(header.subarray(0, 14 + 20 + 32), MSS)).toBeUndefined()
})
