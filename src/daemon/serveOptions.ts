// From options to what the API's listeners need: certificates read, the group's number found.
import { readFile } from 'node:fs/promises'
import type { ServeOptions } from '../api/index.ts'
import { errorText, ShoalError } from '../lib/index.ts'
import type { DaemonOptions } from './options.ts'

/** ShoalError 'failed-precondition' when a file cannot be read or there is no such group. */
export async function serveOptions({ tls, group, readOnlyHosts }: DaemonOptions): Promise<ServeOptions> {
  return {
    readOnlyHosts,
    ...(group === undefined ? {} : { groupId: await groupId(group) }),
    ...(tls ? { tls: { ca: await pem(tls.ca), cert: await pem(tls.cert), key: await pem(tls.key) } } : {}),
  }
}

async function groupId(group: string): Promise<number> {
  if (/^\d+$/.test(group)) return Number(group)
  const line = (await readFile('/etc/group', 'utf8').catch(() => '')).split('\n').find((entry) => entry.startsWith(`${group}:`))
  if (line) return Number(line.split(':')[2])
  throw new ShoalError('failed-precondition', `there is no group "${group}"`, {
    next: `make it (groupadd --system ${group}) or leave out --group`,
  })
}

async function pem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new ShoalError('failed-precondition', `--tlsverify: ${errorText(error)}`, { next: 'give --tlscacert, --tlscert and --tlskey' })
  }
}
