// Door of etcd: the client, the child process of this node, and how members come and go.
export { createEtcdClient, type EtcdTls } from './client.ts'
export { createEtcdHost, type EtcdHost, MEMBER_SUBJECT, type MemberConfig, type MemberCredentials, peerUrl } from './host.ts'
export { addLearner, handOver, type MembershipDeps, promoteMember, removeMember } from './membership.ts'
export { requireEtcd, whyUnfit } from './process.ts'
