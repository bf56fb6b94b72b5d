/** The thread that makes regions, in a browser. */
import { serve, type ToMaker } from './serve.ts'

const take = serve((message) => self.postMessage(message, []))
self.addEventListener('message', ({ data }) => void take(data as ToMaker))
