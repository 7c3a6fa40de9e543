// A small router: method and path pattern to handler, `{name}` stands for one segment.
import { ShoalError } from '../../lib/index.ts'
import type { RequestContext } from './context.ts'

export type Handler = (context: RequestContext) => Promise<void> | void

export interface Route {
  readonly method: string
  /** `/services/{id}/update` */
  readonly pattern: string
  readonly handler: Handler
}

export interface Match {
  readonly handler: Handler
  readonly params: Readonly<Record<string, string>>
}

interface Compiled {
  readonly segments: readonly string[]
  readonly handler: Handler
}

export class Router {
  readonly #routes = new Map<string, Compiled[]>()

  constructor(routes: readonly Route[]) {
    for (const { method, pattern, handler } of routes) {
      const segments = pattern.split('/').slice(1)
      const key = `${method} ${segments.length}`
      this.#routes.set(key, [...(this.#routes.get(key) ?? []), { segments, handler }])
    }
  }

  /** Undefined when no route fits. 'invalid-argument' when an escape in the path is broken. */
  match(method: string, path: string): Match | undefined {
    const segments = path.split('/').slice(1)
    for (const route of this.#routes.get(`${method} ${segments.length}`) ?? []) {
      const params = matchSegments(route.segments, segments)
      if (params) return { handler: route.handler, params }
    }
    return undefined
  }
}

function matchSegments(pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  const params: Record<string, string> = {}
  for (const [index, expected] of pattern.entries()) {
    const given = segments[index] ?? ''
    if (!expected.startsWith('{')) {
      if (expected !== given) return undefined
    } else if (given === '') return undefined
    else params[expected.slice(1, -1)] = given
  }
  for (const [name, value] of Object.entries(params)) params[name] = decode(value)
  return params
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new ShoalError('invalid-argument', `invalid escape in the path: ${segment.slice(0, 80)}`)
  }
}
