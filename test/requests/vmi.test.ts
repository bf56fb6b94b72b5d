import { testRequests } from './expect.ts'

testRequests('vmi')
