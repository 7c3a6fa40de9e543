// ContainerSpec: everything a service says about its container (docker-api.md 1.3), both ways.
import type { ConfigId, SecretId } from '../../lib/index.ts'
import type {
  ConfigReference,
  ContainerSpec,
  Driver,
  FileTarget,
  Healthcheck,
  Mount,
  Privileges,
  SecretReference,
} from '../../model/index.ts'
import {
  array,
  asObject,
  boolean,
  type Codec,
  computed,
  id,
  integer,
  object,
  omitEmpty,
  oneOf,
  optional,
  required,
  string,
  stringMap,
  unsigned,
} from './codec.ts'

const driverConfig = object<Driver>([required('Name', 'name', string, ''), omitEmpty('Options', 'options', stringMap)])

const bindOptions = object<NonNullable<Mount['bind']>>([
  omitEmpty('Propagation', 'propagation', string),
  omitEmpty('NonRecursive', 'nonRecursive', boolean),
  omitEmpty('CreateMountpoint', 'createMountpoint', boolean),
  omitEmpty('ReadOnlyNonRecursive', 'readOnlyNonRecursive', boolean),
  omitEmpty('ReadOnlyForceRecursive', 'readOnlyForceRecursive', boolean),
])

const volumeOptions = object<NonNullable<Mount['volume']>>([
  omitEmpty('NoCopy', 'noCopy', boolean),
  omitEmpty('Labels', 'labels', stringMap),
  optional('DriverConfig', 'driver', driverConfig),
  omitEmpty('Subpath', 'subpath', string),
])

const tmpfsOptions = object<NonNullable<Mount['tmpfs']>>([
  omitEmpty('SizeBytes', 'sizeBytes', integer),
  omitEmpty('Mode', 'mode', unsigned),
  omitEmpty('Options', 'options', array(array(string))),
])

const mount = object<Mount>([
  required('Type', 'type', oneOf(['bind', 'volume', 'tmpfs', 'npipe', 'cluster', 'image'], 'volume'), 'volume'),
  omitEmpty('Source', 'source', string),
  required('Target', 'target', string, ''),
  omitEmpty('ReadOnly', 'readOnly', boolean),
  omitEmpty('Consistency', 'consistency', string),
  optional('BindOptions', 'bind', bindOptions),
  optional('VolumeOptions', 'volume', volumeOptions),
  optional('TmpfsOptions', 'tmpfs', tmpfsOptions),
])

const healthcheck = object<Healthcheck>([
  omitEmpty('Test', 'test', array(string)),
  omitEmpty('Interval', 'intervalNs', integer),
  omitEmpty('Timeout', 'timeoutNs', integer),
  omitEmpty('StartPeriod', 'startPeriodNs', integer),
  omitEmpty('StartInterval', 'startIntervalNs', integer),
  omitEmpty('Retries', 'retries', integer),
])

const dns = object<NonNullable<ContainerSpec['dns']>>([
  omitEmpty('Nameservers', 'nameservers', array(string)),
  omitEmpty('Search', 'search', array(string)),
  omitEmpty('Options', 'options', array(string)),
])

const credentialSpec = object<NonNullable<Privileges['credentialSpec']>>([
  omitEmpty('Config', 'config', string),
  omitEmpty('File', 'file', string),
  omitEmpty('Registry', 'registry', string),
])

const seLinux = object<NonNullable<Privileges['seLinux']>>([
  omitEmpty('Disable', 'disable', boolean),
  omitEmpty('User', 'user', string),
  omitEmpty('Role', 'role', string),
  omitEmpty('Type', 'type', string),
  omitEmpty('Level', 'level', string),
])

const seccomp = object<NonNullable<Privileges['seccomp']>>([
  required('Mode', 'mode', oneOf(['default', 'unconfined', 'custom'], 'default'), 'default'),
  omitEmpty('Profile', 'profile', string),
])

const appArmor = object<NonNullable<Privileges['appArmor']>>([
  required('Mode', 'mode', oneOf(['default', 'disabled'], 'default'), 'default'),
])

const privileges = object<Privileges>([
  optional('CredentialSpec', 'credentialSpec', credentialSpec),
  optional('SELinuxContext', 'seLinux', seLinux),
  optional('Seccomp', 'seccomp', seccomp),
  optional('AppArmor', 'appArmor', appArmor),
  omitEmpty('NoNewPrivileges', 'noNewPrivileges', boolean),
])

const file = object<FileTarget>([
  required('Name', 'name', string, ''),
  required('UID', 'uid', string, '0'),
  required('GID', 'gid', string, '0'),
  required('Mode', 'mode', unsigned, 0),
])

const secretReference = object<SecretReference>([
  optional('File', 'file', file),
  required('SecretID', 'secretId', id<SecretId>(), '' as SecretId),
  required('SecretName', 'secretName', string, ''),
])

const configReference = object<ConfigReference>([
  optional('File', 'file', file),
  // An empty object in the JSON: its presence is what counts.
  {
    read(json, draft, path) {
      const runtime = json.get('Runtime')
      if (runtime === undefined) return
      asObject(runtime, `${path}.Runtime`)
      draft.runtime = true
    },
    write() {},
  },
  computed('Runtime', (reference) => (reference.runtime ? {} : undefined)),
  required('ConfigID', 'configId', id<ConfigId>(), '' as ConfigId),
  required('ConfigName', 'configName', string, ''),
])

const ulimit = object<NonNullable<ContainerSpec['ulimits']>[number]>([
  required('Name', 'name', string, ''),
  required('Hard', 'hard', integer, 0),
  required('Soft', 'soft', integer, 0),
])

/** `registryAuth` comes in a header and is never printed. */
export const containerSpec: Codec<ContainerSpec> = object<ContainerSpec>([
  required('Image', 'image', string, ''),
  omitEmpty('Labels', 'labels', stringMap),
  omitEmpty('Command', 'command', array(string)),
  omitEmpty('Args', 'args', array(string)),
  omitEmpty('Hostname', 'hostname', string),
  omitEmpty('Env', 'env', array(string)),
  omitEmpty('Dir', 'dir', string),
  omitEmpty('User', 'user', string),
  omitEmpty('Groups', 'groups', array(string)),
  optional('Privileges', 'privileges', privileges),
  optional('Init', 'init', boolean),
  omitEmpty('StopSignal', 'stopSignal', string),
  omitEmpty('TTY', 'tty', boolean),
  omitEmpty('OpenStdin', 'openStdin', boolean),
  omitEmpty('ReadOnly', 'readOnly', boolean),
  omitEmpty('Mounts', 'mounts', array(mount)),
  optional('StopGracePeriod', 'stopGracePeriodNs', integer),
  optional('Healthcheck', 'healthcheck', healthcheck),
  omitEmpty('Hosts', 'hosts', array(string)),
  optional('DNSConfig', 'dns', dns),
  omitEmpty('Secrets', 'secrets', array(secretReference)),
  omitEmpty('Configs', 'configs', array(configReference)),
  omitEmpty('Isolation', 'isolation', string),
  omitEmpty('Sysctls', 'sysctls', stringMap),
  omitEmpty('CapabilityAdd', 'capabilityAdd', array(string)),
  omitEmpty('CapabilityDrop', 'capabilityDrop', array(string)),
  omitEmpty('Ulimits', 'ulimits', array(ulimit)),
  omitEmpty('OomScoreAdj', 'oomScoreAdj', integer),
])
