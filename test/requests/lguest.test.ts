import { testRequests } from './expect.ts'

testRequests('lguest')
