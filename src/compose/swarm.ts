// What the specification knows and a swarm does not do: each field with what it would need, so that nothing is dropped silently.
export interface Limit {
  readonly severity: 'error' | 'warning'
  readonly message: string
  readonly advice?: string
}

const ignored = (message: string, advice?: string): Limit => ({ severity: 'warning', message, ...(advice ? { advice } : {}) })
const refused = (message: string, advice?: string): Limit => ({ severity: 'error', message, ...(advice ? { advice } : {}) })

const NO_CPU_TUNING = refused('a swarm has no such limit', 'Use deploy.resources.limits.cpus')
const NOT_FOR_SERVICES = ignored('ignored: services of a swarm cannot have it')
const OWN_CONTAINERS = ignored('ignored: the swarm makes the containers and their namespaces')

/** By field of a service. What changes only comfort is ignored with a warning; what the service may rely on for its safety is refused. */
export const SERVICE_LIMITS: Readonly<Record<string, Limit>> = {
  annotations: NOT_FOR_SERVICES,
  attach: ignored('ignored: a stack is deployed in the background', 'Follow it with shoal service logs -f'),
  blkio_config: NOT_FOR_SERVICES,
  build: ignored('ignored: a swarm does not build images', 'Build and push the image first; each node pulls it'),
  cgroup: OWN_CONTAINERS,
  cgroup_parent: OWN_CONTAINERS,
  container_name: ignored('ignored: a service may have many containers, and the swarm names them', 'Reach it by the name of the service'),
  cpu_count: NO_CPU_TUNING,
  cpu_percent: NO_CPU_TUNING,
  cpu_period: NO_CPU_TUNING,
  cpu_quota: NO_CPU_TUNING,
  cpu_rt_period: NO_CPU_TUNING,
  cpu_rt_runtime: NO_CPU_TUNING,
  cpu_shares: NO_CPU_TUNING,
  cpuset: NO_CPU_TUNING,
  develop: ignored('ignored: a deployed stack does not follow source files'),
  device_cgroup_rules: NOT_FOR_SERVICES,
  devices: ignored('ignored: services of a swarm cannot have devices', 'Declare generic resources on the nodes and reserve them'),
  domainname: ignored('ignored: services of a swarm cannot have it', 'Write the whole name into hostname'),
  expose: ignored('ignored: tasks on the same network reach every port of each other'),
  external_links: ignored('ignored: there are no links between services', 'Put both services on one network'),
  gpus: ignored('ignored: services of a swarm cannot ask for GPUs', 'Declare generic resources on the nodes and reserve them'),
  ipc: OWN_CONTAINERS,
  links: ignored('ignored: there are no links between services', 'Services on one network find each other by name'),
  mac_address: NOT_FOR_SERVICES,
  mem_swappiness: NOT_FOR_SERVICES,
  memswap_limit: refused('a swarm has no such limit', 'Use deploy.resources.limits.memory'),
  models: refused('a swarm does not run models', 'Run the model as a service and give its address in environment'),
  oom_kill_disable: NOT_FOR_SERVICES,
  pid: OWN_CONTAINERS,
  post_start: ignored('ignored: a swarm runs nothing beside the container', 'Do it in the entrypoint'),
  pre_start: refused(
    'a swarm runs nothing before the container',
    'Make it a service with mode: replicated-job, and wait for it with depends_on',
  ),
  pre_stop: ignored('ignored: a swarm runs nothing beside the container', 'Do it when the container gets its stop signal'),
  privileged: ignored('ignored: services of a swarm are never privileged', 'Give the capabilities it needs with cap_add'),
  provider: refused('a swarm does not run providers'),
  pull_policy: ignored('ignored: each node pulls the image that it does not have', 'Use shoal stack deploy --resolve-image always'),
  pull_refresh_after: ignored('ignored: each node pulls the image that it does not have'),
  runtime: NOT_FOR_SERVICES,
  storage_opt: NOT_FOR_SERVICES,
  use_api_socket: ignored(
    'ignored: the engine socket is not given to services',
    'Bind /var/run/docker.sock if the service may control the swarm',
  ),
  userns_mode: OWN_CONTAINERS,
  uts: OWN_CONTAINERS,
  volumes_from: refused(
    'services of a swarm run on different nodes and cannot share the volumes of a container',
    'Name the volume under volumes: and use it in both services',
  ),
}

/** By field of what attaches a service to a network. */
export const ATTACHMENT_LIMITS: Readonly<Record<string, Limit>> = {
  ipv4_address: ignored('ignored: the swarm gives each task an address'),
  ipv6_address: ignored('ignored: the swarm gives each task an address'),
  link_local_ips: ignored('ignored: the swarm gives each task an address'),
  mac_address: ignored('ignored: the swarm gives each task an address'),
  interface_name: NOT_FOR_SERVICES,
  priority: ignored('ignored: networks are joined in the order of their names'),
  gw_priority: ignored('ignored: networks are joined in the order of their names'),
}

/** Values of network_mode that a service can have: networks that every node has by itself. */
export const NODE_NETWORKS: ReadonlySet<string> = new Set(['host', 'bridge'])
