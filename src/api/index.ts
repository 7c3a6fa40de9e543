// The API's door: the Docker Engine API of a node, and its listeners.
export { type Api, createApi } from './api.ts'
export type { ApiDeps, LocalNetwork, NetworkAttachments } from './app.ts'
export { type ApiServer, serveApi } from './serve.ts'
