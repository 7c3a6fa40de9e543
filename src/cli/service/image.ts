// The image of a service: its familiar name, its digest as the registry knows it, and the credentials to pull it with.
import type { ApiClient, TaskSpec } from '../../client/index.ts'
import { ApiError } from '../../client/index.ts'
import type { Io } from '../io.ts'

const NAME =
  /^(?:(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?\/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?::[\w][\w.-]{0,127})?$/

/** The image as docker writes it into a spec: without the default registry, with a tag. What is no image name stays as it is. */
export function familiarImage(image: string): string {
  const short = image.replace(/^docker\.io\/(?:library\/)?/, '')
  if (image.includes('@') || !NAME.test(image)) return image
  return /:[^/]+$/.test(short) ? short : `${short}:latest`
}

interface Distribution {
  readonly Descriptor?: { readonly digest?: string }
  readonly Platforms?: readonly { readonly architecture?: string; readonly os?: string }[]
}

/**
 * Pins the spec's image to the digest that the registry has for it and records the platforms. When the registry cannot be asked, warns that each node
 * will resolve the tag by itself.
 */
export async function pinImage(client: ApiClient, io: Io, template: TaskSpec, auth: string | undefined): Promise<void> {
  const container = template.ContainerSpec
  const image = container?.Image
  if (!container || !image) return
  try {
    const path = `/distribution/${encodeURI(image)}/json`
    const { Descriptor, Platforms = [] } = await client.request<Distribution>('GET', path, {
      headers: auth ? { 'X-Registry-Auth': auth } : {},
    })
    if (Descriptor?.digest && !image.includes('@')) container.Image = `${image}@${Descriptor.digest}`
    template.Placement = { ...template.Placement }
    template.Placement.Platforms = Platforms.map(({ architecture, os }) => ({ Architecture: architecture, OS: os }))
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    io.stderr.write(
      `image ${image} could not be accessed on a registry to record\nits digest. Each node will access ${image} independently,\n` +
        'possibly leading to different nodes running different\nversions of the image.\n\n',
    )
  }
}

const DEFAULT_REGISTRY = 'https://index.docker.io/v1/'

/** The X-Registry-Auth header for --with-registry-auth, from docker's config.json; undefined when no login is stored for the registry. */
export async function registryAuth(io: Io, image: string): Promise<string | undefined> {
  const folder = io.env.DOCKER_CONFIG ?? `${io.env.HOME ?? ''}/.docker`
  const file = `${folder}/config.json`
  if (!io.exists(file)) return undefined
  const config = JSON.parse(Buffer.from(await io.readFile(file)).toString('utf8')) as {
    auths?: Record<string, { auth?: string; identitytoken?: string }>
  }
  const first = image.split('/')[0] ?? ''
  const isHost = image.includes('/') && (/[.:]/.test(first) || first === 'localhost')
  const registry = isHost && first !== 'docker.io' ? first : DEFAULT_REGISTRY
  const entry = config.auths?.[registry] ?? config.auths?.[`https://${registry}`]
  if (!entry?.auth) return undefined
  const [username = '', ...password] = Buffer.from(entry.auth, 'base64').toString('utf8').split(':')
  const auth = { username, password: password.join(':'), serveraddress: registry, identitytoken: entry.identitytoken }
  return Buffer.from(JSON.stringify(auth)).toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}
