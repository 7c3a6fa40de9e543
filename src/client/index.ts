// The client's door: a typed HTTP client for the Docker Engine API and Shoal's own routes.
export { type ApiClient, createClient, type ListFilters, type RequestOptions, type StreamResponse } from './client.ts'
export { ApiError, ConnectError } from './errors.ts'
export { type ClientTls, type Endpoint, parseEndpoint, resolveHost, tlsOf } from './host.ts'
export { demultiplex, jsonLines, type LogFrame, rawFrames } from './stream.ts'
export type * from './types.ts'
