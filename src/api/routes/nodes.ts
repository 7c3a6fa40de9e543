// /nodes: list, inspect, update, remove.
import { ShoalError } from '../../lib/index.ts'
import type { UpdateNodeOptions } from '../../manager/index.ts'
import { type Node, parseDurationMs } from '../../model/index.ts'
import { type App, managerOf } from '../app.ts'
import { TextCache } from '../cache.ts'
import { flag, readJson, sendEmpty, sendJsonText, versionOf } from '../http/context.ts'
import { asManager } from '../http/errors.ts'
import { type Filters, parseFilters } from '../http/filters.ts'
import type { Route } from '../http/router.ts'
import { nodeSpec, printNode } from '../json/node.ts'

const FILTERS = ['id', 'name', 'label', 'node.label', 'role', 'membership']

export function nodeRoutes({ deps }: App): Route[] {
  const cache = new TextCache<Node>()
  const textOf = (node: Node) => cache.get(node, [], () => printNode(node))
  return [
    {
      method: 'GET',
      pattern: '/nodes',
      handler: ({ res, query }) => {
        const { store } = managerOf(deps)
        const filters = parseFilters(query, FILTERS)
        filters.requireOneOf('role', ['worker', 'manager'])
        filters.requireOneOf('membership', ['accepted', 'pending'])
        const nodes = [...store.view().nodes.values()].filter((node) => matches(node, filters))
        sendJsonText(res, 200, `[${nodes.map(textOf).join(',')}]`)
      },
    },
    {
      method: 'GET',
      pattern: '/nodes/{id}',
      handler: ({ res, params }) => sendJsonText(res, 200, textOf(managerOf(deps).control.node(params.id!))),
    },
    {
      method: 'POST',
      pattern: '/nodes/{id}/update',
      handler: async ({ req, res, query, params }) => {
        const { control } = managerOf(deps)
        const version = versionOf(query, 'node')
        const spec = nodeSpec.parse(await readJson(req), '')
        await asManager(() => control.updateNode(params.id!, version, spec, drainDeadline(query)))
        sendEmpty(res, 200)
      },
    },
    {
      method: 'DELETE',
      pattern: '/nodes/{id}',
      handler: async ({ res, query, params }) => {
        const { control } = managerOf(deps)
        await asManager(() => control.removeNode(params.id!, { force: flag(query, 'force') }))
        sendEmpty(res, 200)
      },
    },
  ]
}

/** `drainDeadline=10m`, `drainDeadline=0`: an extension of ours. */
function drainDeadline(query: URLSearchParams): UpdateNodeOptions {
  const text = query.get('drainDeadline') ?? ''
  if (text === '') return {}
  const drainDeadlineMs = parseDurationMs(text)
  if (drainDeadlineMs !== undefined) return { drainDeadlineMs }
  throw new ShoalError('invalid-argument', `invalid value for drainDeadline: ${text}`, {
    next: 'Give a duration of at most 24h, such as 10m or 0',
  })
}

/** `label` means labels of the engine, `node.label` those given with `node update`. */
function matches({ id, spec, description }: Node, filters: Filters): boolean {
  return (
    filters.prefix('id', id) &&
    filters.prefix('name', spec.name || undefined, description?.hostname) &&
    filters.labels('label', description?.engineLabels ?? {}) &&
    filters.labels('node.label', spec.labels) &&
    filters.exact('role', spec.desiredRole) &&
    filters.exact('membership', spec.membership)
  )
}
