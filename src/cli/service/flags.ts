// The flags of `service create` and `service update`. Both know most of them; lists are --name on create and --name-add, --name-rm on update.
import { DETACH, type FlagDef, type FlagKind, QUIET_PROGRESS } from '../flags/index.ts'
import { parseMount } from './mounts.ts'
import { parsePublish, parsePublishRemoval } from './ports.ts'
import { parseFileRequest, parseNetworkRequest } from './references.ts'
import { parseCredentialSpec, parseHost, parseNameserver, parsePreference, parseUlimit } from './values.ts'

const DURATION = '(ns|us|ms|s|m|h)'

function flag(name: string, kind: FlagKind, help: string, more: Partial<FlagDef> = {}): FlagDef {
  return { name, kind, help, ...more }
}

const SHARED: readonly FlagDef[] = [
  flag('cap-add', 'list', 'Add Linux capabilities'),
  flag('cap-drop', 'list', 'Drop Linux capabilities'),
  flag('credential-spec', 'string', 'Credential spec for managed service account (Windows only)', {
    value: 'credential-spec',
    parse: parseCredentialSpec,
  }),
  DETACH,
  flag('endpoint-mode', 'string', 'Endpoint mode (vip or dnsrr)'),
  flag('entrypoint', 'string', 'Overwrite the default ENTRYPOINT of the image', { value: 'command' }),
  flag('health-cmd', 'string', 'Command to run to check health'),
  flag('health-interval', 'duration', 'Time between running the check (ms|s|m|h)'),
  flag('health-retries', 'int', 'Consecutive failures needed to report unhealthy'),
  flag('health-start-interval', 'duration', 'Time between running the check during the start period (ms|s|m|h)'),
  flag(
    'health-start-period',
    'duration',
    'Start period for the container to initialize before counting retries towards unstable (ms|s|m|h)',
  ),
  flag('health-timeout', 'duration', 'Maximum time to allow one check to run (ms|s|m|h)'),
  flag('hostname', 'string', 'Container hostname'),
  flag('init', 'bool', 'Use an init inside each service container to forward signals and reap processes'),
  flag('isolation', 'string', 'Service container isolation mode'),
  flag('limit-cpu', 'cpus', 'Limit CPUs'),
  flag('limit-memory', 'bytes', 'Limit Memory'),
  flag('limit-pids', 'int', 'Limit maximum number of processes (default 0 = unlimited)'),
  flag('log-driver', 'string', 'Logging driver for service'),
  flag('log-opt', 'list', 'Logging driver options'),
  flag('max-concurrent', 'uint', 'Number of job tasks to run concurrently (default equal to --replicas)'),
  flag('no-healthcheck', 'bool', 'Disable any container-specified HEALTHCHECK'),
  flag('no-resolve-image', 'bool', 'Do not query the registry to resolve image digest and supported platforms'),
  flag('oom-score-adj', 'int', "Tune host's OOM preferences (-1000 to 1000)"),
  QUIET_PROGRESS,
  flag('read-only', 'bool', "Mount the container's root filesystem as read only"),
  flag('replicas', 'uint', 'Number of tasks'),
  flag('replicas-max-per-node', 'uint', 'Maximum number of tasks per node (default 0 = unlimited)'),
  flag('reserve-cpu', 'cpus', 'Reserve CPUs'),
  flag('reserve-memory', 'bytes', 'Reserve Memory'),
  flag('restart-condition', 'string', 'Restart when condition is met ("none", "on-failure", "any")'),
  flag('restart-delay', 'duration', `Delay between restart attempts ${DURATION}`),
  flag('restart-max-attempts', 'uint', 'Maximum number of restarts before giving up'),
  flag('restart-window', 'duration', `Window used to evaluate the restart policy ${DURATION}`),
  ...rolloutFlags('rollback', 'Delay between task rollbacks', '("pause", "continue")', 'rolled back'),
  flag('stop-grace-period', 'duration', `Time to wait before force killing a container ${DURATION}`),
  flag('stop-signal', 'string', 'Signal to stop the container'),
  flag('tty', 'bool', 'Allocate a pseudo-TTY', { short: 't' }),
  ...rolloutFlags('update', 'Delay between updates', '("pause", "continue", "rollback")', 'updated'),
  flag('user', 'string', 'Username or UID (format: <name|uid>[:<group|gid>])', { short: 'u' }),
  flag('with-registry-auth', 'bool', 'Send registry authentication details to swarm agents'),
  flag('workdir', 'string', 'Working directory inside the container', { short: 'w' }),
]

function rolloutFlags(what: 'update' | 'rollback', delay: string, actions: string, done: string): FlagDef[] {
  return [
    flag(`${what}-delay`, 'duration', `${delay} ${DURATION}`),
    flag(`${what}-failure-action`, 'string', `Action on ${what} failure ${actions}`),
    flag(`${what}-max-failure-ratio`, 'float', `Failure rate to tolerate during ${what === 'update' ? 'an' : 'a'} ${what}`),
    flag(`${what}-monitor`, 'duration', `Duration after each task ${what} to monitor for failure ${DURATION}`),
    flag(`${what}-order`, 'string', `${what === 'update' ? 'Update' : 'Rollback'} order ("start-first", "stop-first")`),
    flag(`${what}-parallelism`, 'uint', `Maximum number of tasks ${done} simultaneously (0 for all at once)`),
  ]
}

export const CREATE_FLAGS: readonly FlagDef[] = [
  ...SHARED,
  flag('config', 'list', 'Specify configurations to expose to the service', { value: 'config', parse: parseFileRequest('config') }),
  flag('constraint', 'list', 'Placement constraints'),
  flag('container-label', 'list', 'Container labels'),
  flag('dns', 'list', 'Set custom DNS servers', { parse: parseNameserver }),
  flag('dns-option', 'list', 'Set DNS options'),
  flag('dns-search', 'list', 'Set custom DNS search domains'),
  flag('env', 'list', 'Set environment variables', { short: 'e' }),
  flag('env-file', 'list', 'Read in a file of environment variables'),
  flag('generic-resource', 'list', 'User defined resources'),
  flag('group', 'list', 'Set one or more supplementary user groups for the container'),
  flag('host', 'list', 'Set one or more custom host-to-IP mappings (host:ip)', { parse: parseHost }),
  flag('label', 'list', 'Service labels', { short: 'l' }),
  flag('mode', 'string', 'Service mode ("replicated", "global", "replicated-job", "global-job")', { default: '"replicated"' }),
  flag('mount', 'list', 'Attach a filesystem mount to the service', { value: 'mount', parse: parseMount }),
  flag('name', 'string', 'Service name'),
  flag('network', 'list', 'Network attachments', { value: 'network', parse: parseNetworkRequest }),
  flag('placement-pref', 'list', 'Add a placement preference', { value: 'pref', parse: parsePreference }),
  flag('publish', 'list', 'Publish a port as a node port', { short: 'p', value: 'port', parse: parsePublish }),
  flag('secret', 'list', 'Specify secrets to expose to the service', { value: 'secret', parse: parseFileRequest('secret') }),
  flag('sysctl', 'list', 'Sysctl options'),
  flag('ulimit', 'list', 'Ulimit options', { value: 'ulimit', parse: parseUlimit }),
]

export const UPDATE_FLAGS: readonly FlagDef[] = [
  ...SHARED,
  flag('args', 'string', 'Service command args', { value: 'command' }),
  flag('config-add', 'list', 'Add or update a config file on a service', { value: 'config', parse: parseFileRequest('config') }),
  flag('config-rm', 'list', 'Remove a configuration file'),
  flag('constraint-add', 'list', 'Add or update a placement constraint'),
  flag('constraint-rm', 'list', 'Remove a constraint'),
  flag('container-label-add', 'list', 'Add or update a container label'),
  flag('container-label-rm', 'list', 'Remove a container label by its key'),
  flag('dns-add', 'list', 'Add or update a custom DNS server', { parse: parseNameserver }),
  flag('dns-option-add', 'list', 'Add or update a DNS option'),
  flag('dns-option-rm', 'list', 'Remove a DNS option'),
  flag('dns-rm', 'list', 'Remove a custom DNS server'),
  flag('dns-search-add', 'list', 'Add or update a custom DNS search domain'),
  flag('dns-search-rm', 'list', 'Remove a DNS search domain'),
  flag('env-add', 'list', 'Add or update an environment variable'),
  flag('env-rm', 'list', 'Remove an environment variable'),
  flag('force', 'bool', 'Force update even if no changes require it'),
  flag('generic-resource-add', 'list', 'Add a Generic resource'),
  flag('generic-resource-rm', 'list', 'Remove a Generic resource'),
  flag('group-add', 'list', 'Add an additional supplementary user group to the container'),
  flag('group-rm', 'list', 'Remove a previously added supplementary user group from the container'),
  flag('host-add', 'list', 'Add a custom host-to-IP mapping ("host:ip")', { parse: parseHost }),
  flag('host-rm', 'list', 'Remove a custom host-to-IP mapping ("host:ip")'),
  flag('image', 'string', 'Service image tag'),
  flag('label-add', 'list', 'Add or update a service label'),
  flag('label-rm', 'list', 'Remove a label by its key'),
  flag('mount-add', 'list', 'Add or update a mount on a service', { value: 'mount', parse: parseMount }),
  flag('mount-rm', 'list', 'Remove a mount by its target path'),
  flag('network-add', 'list', 'Add a network', { value: 'network', parse: parseNetworkRequest }),
  flag('network-rm', 'list', 'Remove a network'),
  flag('placement-pref-add', 'list', 'Add a placement preference', { value: 'pref', parse: parsePreference }),
  flag('placement-pref-rm', 'list', 'Remove a placement preference', { value: 'pref', parse: parsePreference }),
  flag('publish-add', 'list', 'Add or update a published port', { value: 'port', parse: parsePublish }),
  flag('publish-rm', 'list', 'Remove a published port by its target port', { value: 'port', parse: parsePublishRemoval }),
  flag('rollback', 'bool', 'Rollback to previous specification'),
  flag('secret-add', 'list', 'Add or update a secret on a service', { value: 'secret', parse: parseFileRequest('secret') }),
  flag('secret-rm', 'list', 'Remove a secret'),
  flag('sysctl-add', 'list', 'Add or update a Sysctl option'),
  flag('sysctl-rm', 'list', 'Remove a Sysctl option'),
  flag('ulimit-add', 'list', 'Add or update a ulimit option', { value: 'ulimit', parse: parseUlimit }),
  flag('ulimit-rm', 'list', 'Remove a ulimit option'),
]
