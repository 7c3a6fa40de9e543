// Secrets and configs: for Docker's clients immutable but for their labels, for ours with content that changes; not removed while a service uses them.
import { isDeepStrictEqual } from 'node:util'
import { type ConfigId, newId, type SecretId, ShoalError } from '../../lib/index.ts'
import {
  CONTENT_POLICY_LABEL,
  type Config,
  type ConfigSpec,
  contentPolicy,
  contentVersion,
  type Secret,
  type SecretSpec,
  type Service,
  validateConfigSpec,
  validateContentLabels,
  validateSecretSpec,
  withContent,
} from '../../model/index.ts'
import { type ControlDeps, find, invalid, requireVersion } from './context.ts'
import { requireUnused } from './references.ts'
import { restartTasks } from './services.ts'
import type { ContentChange, Control } from './types.ts'

type SecretControl = Pick<Control, 'secret' | 'createSecret' | 'updateSecret' | 'updateSecretContent' | 'removeSecret'>
type ConfigControl = Pick<Control, 'config' | 'createConfig' | 'updateConfig' | 'updateConfigContent' | 'removeConfig'>

export function secretControl({ store, random }: ControlDeps): SecretControl {
  return {
    secret: (text) => find('secret', store.view().secrets, text),
    createSecret: async (spec) => {
      validateSecretSpec(spec)
      return await store.transact((tx) => tx.secrets.create({ id: newId<SecretId>(random), spec }))
    },
    updateSecret: (text, version, spec) =>
      store.transact((tx) => {
        const secret: Secret = find('secret', tx.secrets, text)
        requireVersion(secret, version)
        requireOnlyLabels(secret.spec, spec)
        validateContentLabels(spec.labels)
        // A stack that is deployed again says the same again: that is no change.
        return isDeepStrictEqual(secret.spec.labels, spec.labels)
          ? secret
          : tx.secrets.update({ ...secret, spec: { ...secret.spec, labels: spec.labels } })
      }),
    updateSecretContent: (text, version, change) =>
      store.transact((tx) => {
        const secret: Secret = find('secret', tx.secrets, text)
        const next = changed(secret, version, change, tx.now)
        validateSecretSpec(next.spec)
        const users = [...tx.services.values()].filter(usesSecret(secret.id))
        if (contentPolicy(next.spec.labels) === 'restart') for (const user of users) restartTasks(tx, user)
        return tx.secrets.update(next)
      }),
    removeSecret: (text) =>
      store.transact((tx) => {
        const { id, spec } = find('secret', tx.secrets, text)
        requireUnused('secret', spec.name, [...tx.services.values()].filter(usesSecret(id)))
        tx.secrets.delete(id)
        return id
      }),
  }
}

export function configControl({ store, random }: ControlDeps): ConfigControl {
  return {
    config: (text) => find('config', store.view().configs, text),
    createConfig: async (spec) => {
      validateConfigSpec(spec)
      return await store.transact((tx) => tx.configs.create({ id: newId<ConfigId>(random), spec }))
    },
    updateConfig: (text, version, spec) =>
      store.transact((tx) => {
        const config: Config = find('config', tx.configs, text)
        requireVersion(config, version)
        requireOnlyLabels(config.spec, spec)
        validateContentLabels(spec.labels)
        return isDeepStrictEqual(config.spec.labels, spec.labels)
          ? config
          : tx.configs.update({ ...config, spec: { ...config.spec, labels: spec.labels } })
      }),
    updateConfigContent: (text, version, change) =>
      store.transact((tx) => {
        const config: Config = find('config', tx.configs, text)
        const next = changed(config, version, change, tx.now)
        validateConfigSpec(next.spec)
        const users = [...tx.services.values()].filter(usesConfig(config.id))
        if (contentPolicy(next.spec.labels) === 'restart') for (const user of users) restartTasks(tx, user)
        return tx.configs.update(next)
      }),
    removeConfig: (text) =>
      store.transact((tx) => {
        const { id, spec } = find('config', tx.configs, text)
        requireUnused('config', spec.name, [...tx.services.values()].filter(usesConfig(id)))
        tx.configs.delete(id)
        return id
      }),
  }
}

type Content = Partial<Pick<SecretSpec & ConfigSpec, 'name' | 'data' | 'driver' | 'templating'>>

function requireOnlyLabels(stored: Content, given: Content): void {
  const sameData = given.data === undefined || given.data === stored.data
  const sameName = given.name === undefined || given.name === '' || given.name === stored.name
  const sameDrivers = given.driver?.name === stored.driver?.name && given.templating?.name === stored.templating?.name
  if (!sameData || !sameName || !sameDrivers) throw invalid('only updates to Labels are allowed')
}

function usesSecret(id: SecretId): (service: Service) => boolean {
  return ({ spec: { task } }) => task.container?.secrets?.some((one) => one.secretId === id) ?? false
}

function usesConfig(id: ConfigId): (service: Service) => boolean {
  return ({ spec: { task } }) => {
    const isCredentialSpec = task.container?.privileges?.credentialSpec?.config === id
    return isCredentialSpec || (task.container?.configs?.some((one) => one.configId === id) ?? false)
  }
}

/** The object with the new content and, if one was given, the new policy. */
function changed<T extends Secret | Config>(
  object: T,
  version: number | undefined,
  { data, restore, policy }: ContentChange,
  now: number,
): T {
  if (version !== undefined) requireVersion(object, version)
  const former = restore === undefined ? undefined : object.history?.find((entry) => entry.version === restore)
  if (restore !== undefined && !former) {
    const kept = object.history?.map((entry) => entry.version).join(', ') ?? ''
    throw new ShoalError('not-found', `version ${restore} of ${object.spec.name} is not kept`, {
      next: kept ? `kept are ${kept}; the present one is ${contentVersion(object)}` : 'there is only the present one',
    })
  }
  const content = former?.data ?? data
  if (content === undefined) throw invalid('new content must be given')
  const labels = policy ? { ...object.spec.labels, [CONTENT_POLICY_LABEL]: policy } : object.spec.labels
  const next: T = content === object.spec.data ? object : withContent<T>(object, content, now)
  return { ...next, spec: { ...next.spec, labels } }
}
