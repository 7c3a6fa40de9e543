// The JSON of the Docker Engine API for swarm objects, with its field names (docker-api.md 1.3). Durations are nanoseconds, memory is bytes.

export interface Version {
  Index: number
}

export interface Meta {
  ID: string
  Version: Version
  CreatedAt: string
  UpdatedAt: string
}

export type Labels = Record<string, string>

// ---- nodes

export interface NodeSpec {
  Name?: string
  Labels?: Labels
  Role: string
  Availability: string
}

export interface GenericResource {
  NamedResourceSpec?: { Kind: string; Value: string }
  DiscreteResourceSpec?: { Kind: string; Value: number }
}

export interface TlsInfo {
  TrustRoot?: string
  CertIssuerSubject?: string
  CertIssuerPublicKey?: string
}

export interface Node extends Meta {
  Spec: NodeSpec
  Description: {
    Hostname?: string
    Platform?: { Architecture?: string; OS?: string }
    Resources?: { NanoCPUs?: number; MemoryBytes?: number; GenericResources?: GenericResource[] }
    Engine?: { EngineVersion?: string; Labels?: Labels; Plugins?: { Type: string; Name: string }[] }
    TLSInfo?: TlsInfo
  }
  Status: { State?: string; Message?: string; Addr?: string }
  ManagerStatus?: { Leader?: boolean; Reachability?: string; Addr?: string }
}

// ---- services

export interface PortConfig {
  Name?: string
  Protocol?: string
  TargetPort?: number
  PublishedPort?: number
  PublishMode?: string
}

export interface UpdateConfig {
  Parallelism: number
  Delay?: number
  FailureAction?: string
  Monitor?: number
  MaxFailureRatio: number
  Order?: string
}

export interface Mount {
  Type?: string
  Source?: string
  Target?: string
  ReadOnly?: boolean
  Consistency?: string
  BindOptions?: {
    Propagation?: string
    NonRecursive?: boolean
    CreateMountpoint?: boolean
    ReadOnlyNonRecursive?: boolean
    ReadOnlyForceRecursive?: boolean
  }
  VolumeOptions?: {
    NoCopy?: boolean
    Labels?: Labels
    Subpath?: string
    DriverConfig?: { Name?: string; Options?: Record<string, string> }
  }
  TmpfsOptions?: { SizeBytes?: number; Mode?: number }
  ImageOptions?: { Subpath?: string }
  ClusterOptions?: Record<string, never>
}

export interface HealthConfig {
  Test?: string[]
  Interval?: number
  Timeout?: number
  StartPeriod?: number
  StartInterval?: number
  Retries?: number
}

export interface FileTarget {
  Name: string
  UID: string
  GID: string
  Mode: number
}

export interface SecretReference {
  File?: FileTarget
  SecretID: string
  SecretName: string
}

export interface ConfigReference {
  File?: FileTarget
  Runtime?: Record<string, never>
  ConfigID: string
  ConfigName: string
}

export interface Ulimit {
  Name: string
  Hard: number
  Soft: number
}

export interface ContainerSpec {
  Image?: string
  Labels?: Labels
  Command?: string[]
  Args?: string[]
  Hostname?: string
  Env?: string[]
  Dir?: string
  User?: string
  Groups?: string[]
  Privileges?: {
    CredentialSpec?: { Config?: string; File?: string; Registry?: string } | null
    SELinuxContext?: unknown
    Seccomp?: unknown
    AppArmor?: unknown
    NoNewPrivileges?: boolean
  }
  Init?: boolean
  StopSignal?: string
  TTY?: boolean
  OpenStdin?: boolean
  ReadOnly?: boolean
  Mounts?: Mount[]
  StopGracePeriod?: number
  Healthcheck?: HealthConfig
  Hosts?: string[]
  DNSConfig?: { Nameservers?: string[]; Search?: string[]; Options?: string[] }
  Secrets?: SecretReference[]
  Configs?: ConfigReference[]
  Isolation?: string
  Sysctls?: Record<string, string>
  CapabilityAdd?: string[]
  CapabilityDrop?: string[]
  Ulimits?: Ulimit[]
  OomScoreAdj?: number
}

export interface TaskSpec {
  ContainerSpec?: ContainerSpec
  Resources?: {
    Limits?: { NanoCPUs?: number; MemoryBytes?: number; Pids?: number }
    Reservations?: { NanoCPUs?: number; MemoryBytes?: number; GenericResources?: GenericResource[] }
  }
  RestartPolicy?: { Condition?: string; Delay?: number; MaxAttempts?: number; Window?: number }
  Placement?: {
    Constraints?: string[]
    Preferences?: { Spread?: { SpreadDescriptor: string } }[]
    MaxReplicas?: number
    Platforms?: { Architecture?: string; OS?: string }[]
  }
  ForceUpdate?: number
  Runtime?: string
  Networks?: NetworkAttachmentConfig[]
  LogDriver?: { Name?: string; Options?: Record<string, string> }
}

export interface NetworkAttachmentConfig {
  Target?: string
  Aliases?: string[]
  DriverOpts?: Record<string, string>
}

export interface ServiceMode {
  Replicated?: { Replicas?: number }
  Global?: Record<string, never>
  ReplicatedJob?: { MaxConcurrent?: number; TotalCompletions?: number }
  GlobalJob?: Record<string, never>
}

export interface EndpointSpec {
  Mode?: string
  Ports?: PortConfig[]
}

export interface ServiceSpec {
  Name: string
  Labels?: Labels
  TaskTemplate: TaskSpec
  Mode?: ServiceMode
  UpdateConfig?: UpdateConfig
  RollbackConfig?: UpdateConfig
  Networks?: NetworkAttachmentConfig[]
  EndpointSpec?: EndpointSpec
}

export interface UpdateStatus {
  State?: string
  StartedAt?: string
  CompletedAt?: string
  Message?: string
}

export interface Service extends Meta {
  Spec: ServiceSpec
  PreviousSpec?: ServiceSpec
  Endpoint?: { Spec?: EndpointSpec; Ports?: PortConfig[]; VirtualIPs?: { NetworkID?: string; Addr?: string }[] }
  UpdateStatus?: UpdateStatus
  ServiceStatus?: { RunningTasks: number; DesiredTasks: number; CompletedTasks?: number }
  JobStatus?: { JobIteration: { Index?: number }; LastExecution?: string }
}

export interface ServiceWarnings {
  Warnings?: string[] | null
}

export interface IdResponse {
  ID: string
}

// ---- tasks

export interface Task extends Meta {
  Name?: string
  Labels?: Labels
  Spec: TaskSpec
  ServiceID: string
  Slot?: number
  NodeID?: string
  Status: {
    Timestamp: string
    State: string
    Message?: string
    Err?: string
    ContainerStatus?: { ContainerID: string; PID: number; ExitCode: number }
    PortStatus?: { Ports?: PortConfig[] }
  }
  DesiredState: string
  NetworksAttachments?: { Network?: unknown; Addresses?: string[] }[]
  JobIteration?: { Index?: number }
}

// ---- cluster

export interface ClusterSpec {
  Name?: string
  Labels?: Labels
  Orchestration?: { TaskHistoryRetentionLimit?: number }
  Raft?: {
    SnapshotInterval?: number
    KeepOldSnapshots?: number
    LogEntriesForSlowFollowers?: number
    ElectionTick?: number
    HeartbeatTick?: number
  }
  Dispatcher?: { HeartbeatPeriod?: number }
  CAConfig?: {
    NodeCertExpiry?: number
    ExternalCAs?: { Protocol: string; URL: string; Options?: Record<string, string>; CACert?: string }[]
    SigningCACert?: string
    SigningCAKey?: string
    ForceRotate?: number
  }
  TaskDefaults?: { LogDriver?: { Name?: string; Options?: Record<string, string> } }
  EncryptionConfig?: { AutoLockManagers?: boolean }
}

export interface Cluster extends Meta {
  Spec: ClusterSpec
  TLSInfo?: TlsInfo
  RootRotationInProgress?: boolean
  DataPathPort?: number
  DefaultAddrPool?: string[] | null
  SubnetSize?: number
  JoinTokens?: { Worker: string; Manager: string }
}

export interface SwarmInfo {
  NodeID?: string
  NodeAddr?: string
  LocalNodeState?: string
  ControlAvailable?: boolean
  Error?: string
  RemoteManagers?: { NodeID: string; Addr: string }[] | null
  Nodes?: number
  Managers?: number
  Cluster?: Cluster
}

/** The parts of /info that are read by name; the rest is passed through to --format. */
export interface SystemInfo extends Record<string, unknown> {
  Name?: string
  Swarm?: SwarmInfo
}

// ---- secrets, configs, networks

export interface Secret extends Meta {
  Spec: {
    Name: string
    Labels?: Labels
    Data?: string
    Driver?: { Name: string; Options?: Record<string, string> }
    Templating?: { Name: string }
  }
}

export interface Config extends Meta {
  Spec: { Name: string; Labels?: Labels; Data?: string; Templating?: { Name: string } }
}

export interface Network {
  Name: string
  Id: string
  Created: string
  Scope: string
  Driver: string
  EnableIPv4?: boolean
  EnableIPv6?: boolean
  Internal?: boolean
  Attachable?: boolean
  Ingress?: boolean
  Labels?: Labels
  [field: string]: unknown
}
