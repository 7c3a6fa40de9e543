// Credentials of registries that the whole cluster uses: which of them an image needs.
import { parseImageReference } from './image.ts'

/** Registry host to the X-Registry-Auth value (base64url JSON) for it. */
export type RegistryCredentials = Readonly<Record<string, string>>

const DOCKER_HUB = 'docker.io'
const HUB_NAMES = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'])

/** A server as people name it (`https://index.docker.io/v1/`, `registry:5000`), as the host in image names. */
export function registryHost(server: string): string {
  const host = server.replace(/^[a-z]+:\/\//, '').replace(/\/.*$/, '')
  return HUB_NAMES.has(host) || host === '' ? DOCKER_HUB : host
}

/** Undefined when nothing is kept for the image's registry. */
export function registryAuthFor(credentials: RegistryCredentials | undefined, image: string): string | undefined {
  const domain = credentials && parseImageReference(image)?.domain
  return domain !== undefined && Object.hasOwn(credentials!, domain) ? credentials![domain] : undefined
}
