/** Starts the thread that makes regions, in a browser: `#thread`. Its program is inside the bundle. */
// oxlint-disable-next-line import/default -- vite makes it
import Maker from './serve-web.ts?worker&inline'
import type { FromMaker, Thread } from './serve.ts'

export function startThread(take: (message: FromMaker) => void, failed: () => void): Thread {
  const worker = new Maker()
  worker.addEventListener('message', ({ data }) => take(data as FromMaker))
  worker.addEventListener('error', failed)
  return { post: (message) => worker.postMessage(message, []) }
}
