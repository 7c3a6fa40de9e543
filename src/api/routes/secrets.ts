// /secrets and /configs: list, inspect, create, update (labels), remove.
import type { Control } from '../../manager/index.ts'
import type { Config, Secret } from '../../model/index.ts'
import { type App, managerOf } from '../app.ts'
import { TextCache } from '../cache.ts'
import { readJson, sendEmpty, sendJson, sendJsonText, versionOf } from '../http/context.ts'
import { asManager } from '../http/errors.ts'
import { parseFilters } from '../http/filters.ts'
import type { Route } from '../http/router.ts'
import { type ConfigRequest, configRequest, printConfig, printSecret, type SecretRequest, secretRequest } from '../json/secret.ts'
import { contentRoutes } from './contents.ts'

interface Kind<T extends Secret | Config, R> {
  readonly noun: 'secret' | 'config'
  readonly filters: readonly string[]
  print(object: T): Record<string, unknown>
  parse(json: unknown): R
  all(app: App): Iterable<T>
  find(control: Control, text: string): T
  create(control: Control, request: R): Promise<T>
  update(control: Control, text: string, version: number, request: R): Promise<T>
  remove(control: Control, text: string): Promise<unknown>
}

const secrets: Kind<Secret, SecretRequest> = {
  noun: 'secret',
  filters: ['id', 'name', 'names', 'label'],
  print: printSecret,
  parse: (json) => secretRequest.parse(json, ''),
  all: ({ deps }) => managerOf(deps).store.view().secrets.values(),
  find: (control, text) => control.secret(text),
  create: (control, request) => control.createSecret({ ...request, data: request.data ?? '' }),
  update: (control, text, version, request) => control.updateSecret(text, version, request),
  remove: (control, text) => control.removeSecret(text),
}

const configs: Kind<Config, ConfigRequest> = {
  noun: 'config',
  filters: ['id', 'name', 'names', 'label'],
  print: printConfig,
  parse: (json) => configRequest.parse(json, ''),
  all: ({ deps }) => managerOf(deps).store.view().configs.values(),
  find: (control, text) => control.config(text),
  create: (control, request) => control.createConfig({ ...request, data: request.data ?? '' }),
  update: (control, text, version, request) => control.updateConfig(text, version, request),
  remove: (control, text) => control.removeConfig(text),
}

export function secretRoutes(app: App): Route[] {
  return [...routesOf(app, secrets), ...routesOf(app, configs), ...contentRoutes(app)]
}

function routesOf<T extends Secret | Config, R>(app: App, kind: Kind<T, R>): Route[] {
  const cache = new TextCache<T>()
  const textOf = (object: T) => cache.get(object, [], () => kind.print(object))
  const control = () => managerOf(app.deps).control
  const base = `/${kind.noun}s`
  return [
    {
      method: 'GET',
      pattern: base,
      handler: ({ res, query }) => {
        const all = kind.all(app)
        const filters = parseFilters(query, kind.filters)
        const texts: string[] = []
        for (const object of all) {
          const { name, labels } = object.spec
          const isWanted =
            filters.prefix('id', object.id) &&
            filters.prefix('name', name) &&
            filters.exact('names', name) &&
            filters.labels('label', labels)
          if (isWanted) texts.push(textOf(object))
        }
        sendJsonText(res, 200, `[${texts.join(',')}]`)
      },
    },
    {
      method: 'POST',
      pattern: `${base}/create`,
      handler: async ({ req, res }) => {
        const manager = control()
        const request = kind.parse(await readJson(req))
        const { id } = await asManager(() => kind.create(manager, request))
        sendJson(res, 201, { ID: id })
      },
    },
    {
      method: 'GET',
      pattern: `${base}/{id}`,
      handler: ({ res, params }) => sendJsonText(res, 200, textOf(kind.find(control(), params.id!))),
    },
    {
      method: 'POST',
      pattern: `${base}/{id}/update`,
      handler: async ({ req, res, query, params }) => {
        const manager = control()
        const version = versionOf(query, kind.noun)
        const request = kind.parse(await readJson(req))
        await asManager(() => kind.update(manager, params.id!, version, request))
        sendEmpty(res, 200)
      },
    },
    {
      method: 'DELETE',
      pattern: `${base}/{id}`,
      handler: async ({ res, params }) => {
        const manager = control()
        await asManager(() => kind.remove(manager, params.id!))
        sendEmpty(res, 204)
      },
    },
  ]
}
