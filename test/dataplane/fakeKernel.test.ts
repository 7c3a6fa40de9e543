// The kernel in memory keeps to the Kernel port.
import { describe } from 'node:test'
import { FakeKernel } from '../../src/ports/fakes/index.ts'
import { kernelConformance } from './conformance.ts'

describe('fake kernel', () => {
  const kernel = new FakeKernel()
  kernelConformance(() => kernel)
})
