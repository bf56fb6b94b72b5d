/** The thread that makes regions, in Node. */
import { parentPort } from 'node:worker_threads'
import { serve, type ToMaker } from './serve.ts'

const take = serve((message) => parentPort?.postMessage(message, []))
parentPort?.on('message', (message: ToMaker) => void take(message))
