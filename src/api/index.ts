// The API's door: the Docker Engine API of a node, and its listeners.
export { type Api, createApi, type Permission } from './api.ts'
export type { ApiDeps, LocalNetwork, NetworkAttachments } from './app.ts'
export { createEventFile, type EventFile } from './events/eventFile.ts'
export { type ApiServer, type ServeOptions, serveApi, type TlsOptions } from './serve.ts'
