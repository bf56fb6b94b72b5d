/** The virtio disk as the Launcher has it (blk_request), over `devices/block`. */
import type { Disk } from '../../../backends/disk.ts'
import { BlockDevice, type BlockStatus } from '../../../devices/block/block.ts'
import type { GuestRange } from '../../../paravirt/sharing.ts'
import { type Kind, VirtioId } from './device.ts'
import { type Told, virtioRequests } from './requests.ts'
import { type Chain, joined, LauncherError, QUEUE_SIZE, type Virtqueue } from './virtqueue.ts'

const SECTOR = 512
/** VIRTIO_BLK_F_*. A disk that cannot be written says so; the Launcher has none. */
const Feature = { BARRIER: 0, SEG_MAX: 2, RO: 5 } as const
/** VIRTIO_BLK_T_*. */
const Type = { OUT: 1, SCSI_CMD: 2, BARRIER: 0x80000000 } as const
const Result = { OK: 0, IOERR: 1, UNSUPP: 2 } as const
const resultNames: Readonly<Record<number, string>> = {
  [Result.IOERR]: 'VIRTIO_BLK_S_IOERR',
  [Result.UNSUPP]: 'VIRTIO_BLK_S_UNSUPP',
}
/** struct virtio_blk_outhdr. */
const HEADER = 16

export function blockKind(disk: Disk, report: (what: string) => void, told: Told): Kind {
  const block = new BlockDevice(disk, report)
  const config = new Uint8Array(16)
  const view = new DataView(config.buffer)
  view.setBigUint64(0, BigInt(block.sectors), true)
  view.setUint32(12, QUEUE_SIZE - 2, true)
  return {
    type: VirtioId.BLOCK,
    queues: 1,
    features: [Feature.BARRIER, Feature.SEG_MAX, ...(block.readOnly ? [Feature.RO] : [])],
    config,
    service: (queue) => {
      for (let chain = queue.take(); chain; chain = queue.take()) request(block, queue, chain, told)
      queue.trigger()
    },
  }
}

/** A piece that must have this size. */
function exactly(range: GuestRange | undefined, size: number, name: string): GuestRange {
  const length = range?.bytes.length ?? 0
  if (!range || length !== size) throw new LauncherError(`Bad iovec size ${length} for ${name}`)
  return range
}

function request(block: BlockDevice, queue: Virtqueue, chain: Chain, { rings, name }: Told): void {
  const { head, out } = chain
  if (out.length === 0 || chain.in.length === 0)
    throw new LauncherError(`Bad virtblk cmd ${head} out=${out.length} in=${chain.in.length}`)
  const { bytes } = exactly(out[0], HEADER, 'struct virtio_blk_outhdr')
  const header = new DataView(bytes.buffer, bytes.byteOffset, HEADER)
  const status = exactly(chain.in.at(-1), 1, 'u8')
  const type = header.getUint32(0, true)
  const sector = header.getBigUint64(8, true)
  const into = joined(chain.in.slice(0, -1))
  const from = joined(out.slice(1))
  const asked =
    type & Type.SCSI_CMD ? virtioRequests.scsi : type & Type.OUT ? virtioRequests.write : virtioRequests.read
  const values = () => {
    if (asked === virtioRequests.scsi) return [name]
    const bytesAsked = [name, sector, BigInt((type & Type.OUT ? from : into).length)]
    return type & Type.OUT ? [...bytesAsked, type & Type.BARRIER ? 1n : 0n] : bytesAsked
  }
  const finish = (result: number, length: number) => {
    status.write(0, Uint8Array.of(result))
    queue.give(head, length)
    rings.note(asked, values, resultNames[result] ?? 0n)
  }
  const whole = (length: number) => length % SECTOR === 0
  const resultOf = (answer: BlockStatus) => (answer === 'ok' ? Result.OK : Result.IOERR)
  if (type & Type.SCSI_CMD) return finish(Result.UNSUPP, 1)
  if (rings.refusal(asked, values) !== undefined) return finish(Result.IOERR, 1)
  if (type & Type.OUT) {
    if (sector + BigInt(Math.ceil(from.length / SECTOR)) > BigInt(block.sectors))
      throw new LauncherError(`Write past end ${sector * BigInt(SECTOR)}+${from.length}`)
    const written = resultOf(whole(from.length) ? block.write(sector, from) : 'error')
    // A barrier is answered when what was written is safe.
    if (type & Type.BARRIER) block.flush(() => {})
    return finish(written, 1)
  }
  const read = resultOf(whole(into.length) ? block.read(sector, into) : 'error')
  finish(read, read === Result.OK ? 1 + into.length : 1)
}
