import { testRequests } from './expect.ts'

testRequests('vmware')
