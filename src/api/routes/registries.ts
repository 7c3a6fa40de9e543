// /shoal/registries: credentials of registries for the whole cluster; and image look-ups that use them.
import type { IncomingMessage } from 'node:http'
import { ShoalError } from '../../lib/index.ts'
import { registryAuthFor, registryHost } from '../../model/index.ts'
import { parseJson } from '../../proxy/index.ts'
import { type App, managerOf } from '../app.ts'
import { readJson, sendEmpty, sendJson } from '../http/context.ts'
import { asManager } from '../http/errors.ts'
import type { Route } from '../http/router.ts'
import { object, required, string } from '../json/codec.ts'

interface Credentials {
  readonly server: string
  readonly username: string
  readonly password: string
}

const credentials = object<Credentials>([
  required('ServerAddress', 'server', string, ''),
  required('Username', 'username', string, ''),
  required('Password', 'password', string, ''),
])

const HUB_ADDRESS = 'https://index.docker.io/v1/'

export function registryRoutes(app: App): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/shoal/registries',
      handler: ({ res }) => {
        const registries = managerOf(app.deps).store.view().cluster?.registries ?? {}
        sendJson(
          res,
          200,
          Object.entries(registries).map(([host, auth]) => ({ ServerAddress: host, Username: usernameOf(auth) })),
        )
      },
    },
    {
      method: 'POST',
      pattern: '/shoal/registries',
      handler: async ({ req, res }) => {
        const { control } = managerOf(app.deps)
        const { server, username, password } = credentials.parse(await readJson(req), '')
        if (username === '' || password === '') throw new ShoalError('invalid-argument', 'Username and Password must be given')
        const host = registryHost(server)
        const serveraddress = host === 'docker.io' ? HUB_ADDRESS : host
        const auth = { username, password, serveraddress }
        await checked(app, auth)
        const stored = await asManager(() => control.setRegistry(host, Buffer.from(JSON.stringify(auth)).toString('base64url')))
        sendJson(res, 200, { ServerAddress: stored, Username: username })
      },
    },
    {
      method: 'DELETE',
      pattern: '/shoal/registries',
      handler: async ({ res, query }) => {
        const { control } = managerOf(app.deps)
        await asManager(() => control.removeRegistry(query.get('server') ?? ''))
        sendEmpty(res, 204)
      },
    },
  ]
}

/** The engine asks the registry whether it takes them. */
async function checked(app: App, auth: Readonly<Record<string, string>>): Promise<void> {
  const answer = await app.engine.ask(
    { method: 'POST', path: '/auth', headers: { 'Content-Type': 'application/json' } },
    JSON.stringify(auth),
  )
  if (answer.status < 300) return
  const said = parseJson(answer.body) as { message?: string } | undefined
  throw new ShoalError(
    answer.status === 401 ? 'unauthenticated' : 'unavailable',
    said?.message ?? `the registry was not reached (${answer.status})`,
  )
}

function usernameOf(auth: string): string {
  const parsed = parseJson(Buffer.from(auth, 'base64url')) as { username?: string } | undefined
  return parsed?.username ?? ''
}

/** A look-up of an image's digest that brings no credentials gets those of the cluster. Changes the request's headers. */
export function addClusterAuth({ deps }: App, req: IncomingMessage, path: string): void {
  const image = /^\/distribution\/(.+)\/json$/.exec(path)?.[1]
  if (image === undefined || req.headers['x-registry-auth'] !== undefined) return
  const auth = registryAuthFor(deps.node.manager()?.store.view().cluster?.registries, decodeURIComponent(image))
  if (auth !== undefined) req.rawHeaders.push('X-Registry-Auth', auth)
}
