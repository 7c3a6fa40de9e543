// The ports: interfaces through which the outside comes in. Adapters and fakes pass the same conformance tests.
export type { Clock, Timer } from './clock.ts'
export type { Disk } from './disk.ts'
export type {
  ContainerPlan,
  ContainerState,
  Engine,
  EngineCapabilities,
  EngineEvent,
  EngineInfo,
  EngineLogLine,
  EngineLogOptions,
  EngineNetworkPlan,
  FilePlan,
  HealthcheckPlan,
  MountPlan,
  NetworkPlan,
  PrivilegesPlan,
} from './engine.ts'
export type {
  Etcd,
  EtcdCallOptions,
  EtcdCompare,
  EtcdEvents,
  EtcdId,
  EtcdKeyValue,
  EtcdMember,
  EtcdOp,
  EtcdStatus,
  EtcdTxn,
  EtcdTxnResult,
} from './etcd.ts'
export type { CertificateFacts, CertificateRequest, Issuer, NodeSubject, RootCa } from './issuer.ts'
export {
  type AddressObject,
  type BridgeObject,
  type ElementObject,
  type FdbObject,
  type FirewallObject,
  type Kernel,
  type KernelChange,
  type KernelFeatures,
  type KernelObject,
  type KernelProbe,
  type KernelState,
  keyOf,
  type NeighbourObject,
  type NftChain,
  type NftSet,
  type SysctlObject,
  sameObject,
  sameTunnel,
  type TableObject,
  type Underlay,
  type VxlanObject,
} from './kernel.ts'
export type { Random } from './random.ts'
export { realClock } from './real/clock.ts'
export { createDisk } from './real/disk.ts'
export { realRandom } from './real/random.ts'
export {
  type CallContext,
  type CallOptions,
  type Channel,
  type ChannelSecurity,
  type Handler,
  handle,
  type Identity,
  type Route,
  type Rpc,
  type RpcPeer,
  type RpcServer,
} from './rpc.ts'
