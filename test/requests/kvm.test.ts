import { testRequests } from './expect.ts'

testRequests('kvm')
