// Image references: `[registry/]path[:tag][@digest]`, as the distribution reference grammar has them (distribution/reference, read).

const DOMAIN =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*$/
const TAG = /^[\w][\w.-]{0,127}$/
const DIGEST = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/
const MAX_PATH_LENGTH = 255

export interface ImageReference {
  /** `docker.io` when none is written. */
  readonly domain: string
  /** `library/nginx` for `nginx`. */
  readonly path: string
  readonly tag: string | undefined
  readonly digest: string | undefined
}

/** Undefined when the text is no reference; a bare 64-digit id is none either. */
export function parseImageReference(text: string): ImageReference | undefined {
  if (/^[0-9a-f]{64}$/.test(text)) return undefined
  const [head, digest, ...more] = text.split('@')
  if (head === undefined || more.length > 0 || (digest !== undefined && !DIGEST.test(digest))) return undefined
  const colon = head.lastIndexOf(':')
  const hasTag = colon > head.lastIndexOf('/')
  const name = hasTag ? head.slice(0, colon) : head
  const tag = hasTag ? head.slice(colon + 1) : undefined
  if (tag !== undefined && !TAG.test(tag)) return undefined
  const { domain, path } = splitDomain(name)
  if (path.length === 0 || path.length > MAX_PATH_LENGTH || !DOMAIN.test(domain)) return undefined
  if (!path.split('/').every((component) => COMPONENT.test(component))) return undefined
  return { domain, path, tag, digest }
}

export function isImageReference(text: string): boolean {
  return parseImageReference(text) !== undefined
}

/** The first component is a registry when it looks like a host: it has a dot, a colon or a capital, or is `localhost`. */
function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/')
  const first = slash < 0 ? '' : name.slice(0, slash)
  if (slash > 0 && (/[.:A-Z]/.test(first) || first === 'localhost')) return { domain: first, path: name.slice(slash + 1) }
  return { domain: 'docker.io', path: slash < 0 ? `library/${name}` : name }
}
