// Secrets and configs, both ways. The data of a secret is never printed.
import type { Config, ConfigSpec, Secret, SecretSpec } from '../../model/index.ts'
import { base64, object, omitEmpty, optional, required, sparse, string, stringMap } from './codec.ts'
import { metaOf } from './node.ts'
import { driver } from './spec.ts'

/** Data is absent where the request leaves it out (allowed in updates). */
export type SecretRequest = Omit<SecretSpec, 'data'> & { readonly data?: string }
export type ConfigRequest = Omit<ConfigSpec, 'data'> & { readonly data?: string }

export const secretRequest = object<SecretRequest>([
  required('Name', 'name', string, ''),
  required('Labels', 'labels', stringMap, {}),
  omitEmpty('Data', 'data', base64),
  optional('Driver', 'driver', driver),
  optional('Templating', 'templating', driver),
])

export const configRequest = object<ConfigRequest>([
  required('Name', 'name', string, ''),
  required('Labels', 'labels', stringMap, {}),
  omitEmpty('Data', 'data', base64),
  optional('Templating', 'templating', driver),
])

const secretView = object<SecretRequest>([
  required('Name', 'name', string, ''),
  required('Labels', 'labels', stringMap, {}),
  optional('Driver', 'driver', driver),
  optional('Templating', 'templating', driver),
])

const configView = object<ConfigRequest>([
  required('Name', 'name', string, ''),
  required('Labels', 'labels', stringMap, {}),
  sparse('Data', 'data', base64, ''),
  optional('Templating', 'templating', driver),
])

export function printSecret(secret: Secret): Record<string, unknown> {
  return { ID: secret.id, ...metaOf(secret), Spec: secretView.print(secret.spec) }
}

export function printConfig(config: Config): Record<string, unknown> {
  return { ID: config.id, ...metaOf(config), Spec: configView.print(config.spec) }
}
