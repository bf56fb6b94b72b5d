import { testRequests } from './expect.ts'

testRequests('xen-pv32')
