// The proxy's door: what goes through to the container engine, and what is changed on the way.
export { type NetworkFacts, requestedNetworks, withOwnSocket, withSwarmNetworkNames } from './containers.ts'
export { createEngineClient, type EngineAnswer, type EngineClient, type EngineRequest, parseJson } from './engineClient.ts'
export { type ForwardOptions, forward } from './forward.ts'
export { endToEnd } from './headers.ts'
export { upgrade } from './upgrade.ts'
