/** XZ and LZMA streams, with every filter that liblzma knows (kernels use the x86 one), by liblzma in WebAssembly. */
import {
  autoDecoderInit,
  code,
  end,
  initModule,
  LZMA_DATA_ERROR,
  LZMA_FINISH,
  LZMA_FORMAT_ERROR,
  LZMA_MEM_ERROR,
  LZMA_MEMLIMIT_ERROR,
  LZMA_OK,
  LZMA_RUN,
  LZMA_STREAM_END,
  WasmLzmaStream,
} from 'node-liblzma/wasm'

const CHUNK = 1 << 18

const messages: Readonly<Record<number, string>> = {
  [LZMA_DATA_ERROR]: 'damaged XZ data',
  [LZMA_FORMAT_ERROR]: 'not XZ data',
  [LZMA_MEM_ERROR]: 'XZ data that needs too much memory',
  [LZMA_MEMLIMIT_ERROR]: 'XZ data that needs too much memory',
}

/** The decoded data in pieces. Throws if the stream is damaged, ends early or is followed by something. */
export async function* unxz(input: Uint8Array): AsyncGenerator<Uint8Array> {
  const module = await initModule()
  const { _malloc: allocate, _free: release } = module
  const stream = new WasmLzmaStream(module)
  const inBuffer = allocate(CHUNK)
  const outBuffer = allocate(CHUNK)
  try {
    autoDecoderInit(stream)
    for (let at = 0; ; ) {
      if (stream.availIn === 0 && at < input.length) {
        const piece = input.subarray(at, at + CHUNK)
        module.HEAPU8.set(piece, inBuffer)
        stream.setInput(inBuffer, piece.length)
        at += piece.length
      }
      stream.setOutput(outBuffer, CHUNK)
      const result = code(stream, at < input.length ? LZMA_RUN : LZMA_FINISH)
      const produced = CHUNK - stream.availOut
      if (produced > 0) yield module.HEAPU8.slice(outBuffer, outBuffer + produced)
      if (result === LZMA_STREAM_END) {
        if (stream.availIn > 0 || at < input.length) throw new Error('XZ data followed by something else')
        return
      }
      if (result !== LZMA_OK) throw new Error(messages[result] ?? 'truncated XZ data')
    }
  } finally {
    end(stream)
    stream.free()
    release(inBuffer)
    release(outBuffer)
  }
}
