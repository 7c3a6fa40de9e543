// Nodes as the API shows them, and the spec that people may change.
import { type NodeId, rfc3339 } from '../../lib/index.ts'
import type { NodeSpecChange } from '../../manager/index.ts'
import type { Meta, Node, NodeResources } from '../../model/index.ts'
import { array, type Codec, computed, object, omitEmpty, oneOf, required, sparse, string, stringMap } from './codec.ts'
import { genericResource, platform } from './spec.ts'

/** What all objects begin with. */
export function metaOf(object: Meta): { Version: { Index: number }; CreatedAt: string; UpdatedAt: string } {
  return { Version: { Index: object.version }, CreatedAt: rfc3339(object.createdAt), UpdatedAt: rfc3339(object.updatedAt) }
}

export const nodeSpec: Codec<NodeSpecChange> = object<NodeSpecChange>([
  sparse('Name', 'name', string, ''),
  required('Labels', 'labels', stringMap, {}),
  required('Role', 'desiredRole', oneOf(['worker', 'manager']), 'worker'),
  required('Availability', 'availability', oneOf(['active', 'pause', 'drain'], 'active'), 'active'),
])

const resources = object<NodeResources>([
  computed('NanoCPUs', (value) => value.nanoCpus || undefined),
  computed('MemoryBytes', (value) => value.memoryBytes || undefined),
  omitEmpty('GenericResources', 'generic', array(genericResource)),
])

export function printNode(node: Node): Record<string, unknown> {
  return {
    ID: node.id as NodeId,
    ...metaOf(node),
    Spec: nodeSpec.print(node.spec),
    Description: printDescription(node),
    Status: {
      State: node.status.state,
      ...(node.status.message && { Message: node.status.message }),
      ...(node.status.address && { Addr: node.status.address }),
    },
    ...(node.managerStatus && {
      ManagerStatus: {
        ...(node.managerStatus.leader && { Leader: true }),
        Reachability: node.managerStatus.reachability,
        Addr: node.managerStatus.address,
      },
    }),
  }
}

function printDescription({ description }: Node): Record<string, unknown> {
  if (!description) return { Platform: {}, Resources: {}, Engine: {}, TLSInfo: {} }
  const { tls } = description
  return {
    Hostname: description.hostname,
    Platform: platform.print(description.platform),
    Resources: resources.print(description.resources),
    Engine: {
      EngineVersion: description.engineVersion,
      ...(Object.keys(description.engineLabels).length > 0 && { Labels: description.engineLabels }),
      ...(description.plugins.length > 0 && { Plugins: description.plugins.map(({ type, name }) => ({ Type: type, Name: name })) }),
    },
    TLSInfo: { TrustRoot: tls.trustRoot, CertIssuerSubject: tls.issuerSubject, CertIssuerPublicKey: tls.issuerPublicKey },
  }
}
