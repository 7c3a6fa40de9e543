// Secrets and configs: immutable but for their labels, and not removed while a service uses them.
import { type ConfigId, newId, type SecretId } from '../../lib/index.ts'
import { type Config, type ConfigSpec, type Secret, type SecretSpec, validateConfigSpec, validateSecretSpec } from '../../model/index.ts'
import { type ControlDeps, find, invalid, requireVersion } from './context.ts'
import { requireUnused } from './references.ts'
import type { Control } from './types.ts'

type SecretControl = Pick<Control, 'secret' | 'createSecret' | 'updateSecret' | 'removeSecret'>
type ConfigControl = Pick<Control, 'config' | 'createConfig' | 'updateConfig' | 'removeConfig'>

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
        return tx.secrets.update({ ...secret, spec: { ...secret.spec, labels: spec.labels } })
      }),
    removeSecret: (text) =>
      store.transact((tx) => {
        const { id, spec } = find('secret', tx.secrets, text)
        const users = [...tx.services.values()].filter((service) =>
          service.spec.task.container?.secrets?.some((one) => one.secretId === id),
        )
        requireUnused('secret', spec.name, users)
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
        return tx.configs.update({ ...config, spec: { ...config.spec, labels: spec.labels } })
      }),
    removeConfig: (text) =>
      store.transact((tx) => {
        const { id, spec } = find('config', tx.configs, text)
        const users = [...tx.services.values()].filter(({ spec: { task } }) => {
          const isCredentialSpec = task.container?.privileges?.credentialSpec?.config === id
          return isCredentialSpec || task.container?.configs?.some((one) => one.configId === id)
        })
        requireUnused('config', spec.name, users)
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
