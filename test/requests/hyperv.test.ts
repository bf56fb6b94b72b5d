import { testRequests } from './expect.ts'

testRequests('hyperv')
