/** Starts the thread that makes regions, in Node: `#thread`; it does not keep the process. */
import { Worker } from 'node:worker_threads'
import type { FromMaker, Thread } from './serve.ts'

/** Published code is JavaScript. */
const url = new URL(`./serve-node${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)

export function startThread(take: (message: FromMaker) => void, failed: () => void): Thread {
  const worker = new Worker(url)
  worker.on('message', take)
  worker.on('error', failed)
  worker.unref()
  return { post: (message) => worker.postMessage(message, []) }
}
