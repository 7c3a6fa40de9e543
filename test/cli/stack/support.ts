// A manager's real API with what the stack of files/both.yaml expects outside of itself, and everything in it by name, without ids.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Io } from '../../../src/cli/io.ts'
import { run } from '../../../src/cli/run.ts'
import { type Harness, startApi } from '../../api/harness.ts'

export const FILES = path.join(path.dirname(fileURLToPath(import.meta.url)), 'files')
export const TEST_ENVIRONMENT: Readonly<Record<string, string>> = { SET_IN_TEST: 'set', EMPTY_IN_TEST: '', HOME: '/nonexistent' }

export async function startStackApi(): Promise<Harness> {
  const api = await startApi()
  await api.call('POST', '/networks/create', { Name: 'outside-net', Driver: 'overlay' })
  await api.call('POST', '/secrets/create', { Name: 'outer-secret', Data: Buffer.from('outer').toString('base64') })
  return api
}

/** Services, networks, secrets and configs of all stacks as the API shows them; ids are told by the names of what they stand for. */
export async function dumpStack(api: Harness): Promise<Record<string, unknown>> {
  const filters = `filters=${encodeURIComponent(JSON.stringify({ label: ['com.docker.stack.namespace'] }))}`
  const names = new Map<string, string>()
  for (const noun of ['networks', 'secrets', 'configs']) {
    for (const object of (await api.call('GET', `/${noun}`)).json) names.set(object.Id ?? object.ID, object.Name ?? object.Spec.Name)
  }
  const byName = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(byName)
    if (typeof value === 'string') return names.get(value) ?? value
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, byName(each)]))
  }
  const dump: Record<string, unknown> = {}
  for (const noun of ['services', 'secrets', 'configs']) {
    for (const { Spec } of (await api.call('GET', `/${noun}?${filters}`)).json) dump[`${noun}/${Spec.Name}`] = byName(Spec)
  }
  for (const { Name, Driver, Internal, Attachable, Labels, Options, IPAM } of (await api.call('GET', `/networks?${filters}`)).json) {
    if (!Labels?.['com.docker.stack.namespace']) continue // the fake engine does not filter
    dump[`networks/${Name}`] = { Driver, Internal, Attachable, Labels, Options, IPAM }
  }
  return Object.fromEntries(Object.entries(dump).sort(([a], [b]) => (a < b ? -1 : 1)))
}

export interface Result {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** `shoal stack ...` in the folder with the files; `files` are there too. */
export async function shoal(
  socket: string,
  args: readonly string[],
  files: Readonly<Record<string, string>> = {},
  env: Record<string, string> = {},
): Promise<Result> {
  const out: string[] = []
  const errors: string[] = []
  const text = (data: string | Uint8Array) => (typeof data === 'string' ? data : Buffer.from(data).toString('utf8'))
  const at = (file: string) => files[path.relative(FILES, path.resolve(FILES, file))]
  const io: Io = {
    stdout: { isTTY: false, columns: 80, write: (data) => out.push(text(data)) },
    stderr: { isTTY: false, columns: 80, write: (data) => errors.push(text(data)) },
    env: { ...TEST_ENVIRONMENT, ...env, PWD: FILES, SHOAL_HOST: `unix://${socket}` },
    readStdin: async () => Buffer.from(files['-'] ?? ''),
    readFile: async (file) => {
      const own = at(file)
      return own === undefined ? await readFile(path.resolve(FILES, file)) : Buffer.from(own)
    },
    exists: (file) => at(file) !== undefined || existsSync(path.resolve(FILES, file)),
    now: () => Date.now(),
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    interrupted: new AbortController().signal,
  }
  const status = await run(['stack', ...args], io)
  return { status, stdout: out.join(''), stderr: errors.join('') }
}
