import { testRequests } from './expect.ts'

// Each is done by a backend, and its pages and disk are compared.
testRequests('xen-rings', 30_000)
