// /shoal/secrets/{id}/content and …/history, the same for configs: content that changes in place, and what it was before.
import { rfc3339, ShoalError } from '../../lib/index.ts'
import type { Control } from '../../manager/index.ts'
import { CONTENT_POLICY_LABEL, type Config, type ContentPolicy, contentPolicy, contentVersion, type Secret } from '../../model/index.ts'
import { type App, managerOf } from '../app.ts'
import { readJson, sendJson, versionOf } from '../http/context.ts'
import { asManager } from '../http/errors.ts'
import type { Route } from '../http/router.ts'
import { base64, integer, object, oneOf, optional } from '../json/codec.ts'

interface ContentRequest {
  readonly data?: string
  readonly restore?: number
  readonly policy?: ContentPolicy
}

const contentRequest = object<ContentRequest>([
  optional('Data', 'data', base64),
  optional('Restore', 'restore', integer),
  optional('Policy', 'policy', oneOf(['none', 'signal', 'restart'])),
])

export function contentRoutes({ deps }: App): Route[] {
  const control = () => managerOf(deps).control
  return [
    ...routesOf('secret', control, (text) => control().secret(text), 'updateSecretContent'),
    ...routesOf('config', control, (text) => control().config(text), 'updateConfigContent'),
  ]
}

function routesOf(
  noun: 'secret' | 'config',
  control: () => Control,
  find: (text: string) => Secret | Config,
  update: 'updateSecretContent' | 'updateConfigContent',
): Route[] {
  return [
    {
      method: 'POST',
      pattern: `/shoal/${noun}s/{id}/content`,
      handler: async ({ req, res, query, params }) => {
        const manager = control()
        const version = query.has('version') ? versionOf(query, noun) : undefined
        const change = contentRequest.parse(await readJson(req), '')
        if (change.data !== undefined && change.restore !== undefined)
          throw new ShoalError('invalid-argument', 'give either Data or Restore')
        const object = await asManager<Secret | Config>(() => manager[update](params.id!, version, change))
        sendJson(res, 200, { ID: object.id, ContentVersion: contentVersion(object), Policy: contentPolicy(object.spec.labels) })
      },
    },
    {
      method: 'GET',
      pattern: `/shoal/${noun}s/{id}/history`,
      handler: ({ res, params }) => {
        const object = find(params.id!)
        const entry = (version: number, data: string, replacedAt: number | undefined) => ({
          ContentVersion: version,
          Current: replacedAt === undefined,
          ...(replacedAt === undefined ? {} : { ReplacedAt: rfc3339(replacedAt) }),
          Bytes: Buffer.byteLength(data, 'base64'),
          ...(noun === 'config' ? { Data: data } : {}), // a secret's content is never shown
        })
        const former = (object.history ?? []).map(({ version, replacedAt, data }) => entry(version, data, replacedAt))
        sendJson(res, 200, {
          ID: object.id,
          Name: object.spec.name,
          Policy: object.spec.labels[CONTENT_POLICY_LABEL] ?? 'none',
          Versions: [...former, entry(contentVersion(object), object.spec.data, undefined)],
        })
      },
    },
  ]
}
