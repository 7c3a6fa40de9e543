// Door of the ports' fakes, for tests and the simulator only.
export { createVirtualClock, VIRTUAL_START, type VirtualClock } from './clock.ts'
export { createFakeDisk, type FakeDisk } from './disk.ts'
export { createFakeEngine, type FakeBehaviour, type FakeContainer, type FakeEngine, type FakeEngineOptions } from './engine.ts'
export { createFakeIssuer, verifyFakeCertificate } from './issuer.ts'
export { FakeKernel, type FakeKernelOptions } from './kernel.ts'
export { createRandom, type SeededRandom } from './random.ts'
