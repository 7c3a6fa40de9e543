// The proxy's door: what goes through to the container engine, and what is changed on the way.
export {
  endpointAt,
  type NetworkFacts,
  type PlaceFacts,
  requestedEndpoint,
  requestedNetworks,
  requestedPlace,
  withOwnSocket,
  withPlaces,
  withSwarmNetworkNames,
} from './containers.ts'
export {
  createEngineClient,
  createStreamClient,
  type EngineAnswer,
  type EngineClient,
  type EngineRequest,
  parseJson,
} from './engineClient.ts'
export { type ForwardOptions, forward } from './forward.ts'
export { endToEnd } from './headers.ts'
export { join, upgrade } from './upgrade.ts'
