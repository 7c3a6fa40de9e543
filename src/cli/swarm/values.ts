// Flag values of `swarm` commands: addresses, address pools, external CAs.
import { isIP } from 'node:net'
import type { ClusterSpec } from '../../client/index.ts'
import { csvFields, keyValue } from '../flags/index.ts'

const DEFAULT_PORT = 2377
export const DEFAULT_LISTEN_ADDRESS = `0.0.0.0:${DEFAULT_PORT}`

/** --listen-addr <ip|interface>[:port], with the default port where none is given. */
export function parseListenAddress(text: string): string {
  if (text === '') throw new Error('empty address: give <ip|interface>[:port]')
  if (isIP(text) === 6) return `[${text}]:${DEFAULT_PORT}`
  const port = /:(\d*)$/.exec(text.replace(/^\[.*\]/, ''))?.[1]
  if (port === undefined) return `${text}:${DEFAULT_PORT}`
  if (port === '' || Number(port) > 65535) throw new Error(`invalid port in address ${JSON.stringify(text)}`)
  return text
}

/** One CIDR of --default-addr-pool. */
export function parsePool(text: string): string {
  const [address = '', bits = ''] = text.split('/', 2)
  const family = isIP(address)
  if (family === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)) {
    throw new Error(`invalid string being converted to CIDR: ${text}`)
  }
  return text
}

export type ExternalCa = NonNullable<NonNullable<ClusterSpec['CAConfig']>['ExternalCAs']>[number]

/** --external-ca protocol=cfssl,url=URL[,KEY=VALUE]... */
export function parseExternalCa(text: string): ExternalCa {
  const ca: ExternalCa = { Protocol: '', URL: '', CACert: '' }
  for (const field of csvFields(text)) {
    const [key, value] = keyValue(field)
    if (!field.includes('=')) throw new Error(`invalid field '${field}' must be a key=value pair`)
    if (key === 'protocol') {
      if (value.toLowerCase() !== 'cfssl') throw new Error(`unrecognized external CA protocol ${value}`)
      ca.Protocol = 'cfssl'
    } else if (key === 'url') ca.URL = value
    else if (key === 'cacert') ca.CACert = value
    else ca.Options = { ...ca.Options, [key]: value }
  }
  if (!ca.Protocol) throw new Error('the external-ca option needs a protocol= parameter')
  if (!ca.URL) throw new Error('the external-ca option needs a url= parameter')
  return ca
}
