// Tasks as the API shows them. A task's spec is its service's at its spec version, so it takes the view to print one.
import { rfc3339 } from '../../lib/index.ts'
import { type Network, type SpecRevision, type Task, type TaskStatus, taskStateName } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { printNetworkObject } from './network.ts'
import { metaOf } from './node.ts'
import { genericResource, taskSpec } from './spec.ts'

/** What a task's JSON is made of besides the task; when one of them is another object, the JSON is another one. */
export interface TaskParts {
  readonly revision: SpecRevision | undefined
  readonly networks: readonly (Network | undefined)[]
}

export function taskParts(view: View, task: Task): TaskParts {
  return {
    revision: task.serviceId === undefined ? undefined : view.specRevisions.of(task.serviceId, task.specVersion),
    networks: task.attachments.map(({ networkId }) => view.networks.get(networkId)),
  }
}

export function printTask(task: Task, { revision, networks }: TaskParts): Record<string, unknown> {
  const spec = revision?.task ?? task.attachmentSpec
  return {
    ID: task.id,
    ...metaOf(task),
    Labels: {},
    Spec: spec ? taskSpec.print(spec) : {},
    ...(task.serviceId !== undefined && { ServiceID: task.serviceId }),
    // Slot 0 is left out, as Go's omitempty does it: also for the first slot of a job.
    ...(task.slot > 0 && { Slot: task.slot }),
    ...(task.nodeId !== undefined && { NodeID: task.nodeId }),
    ...(task.genericResources?.length && { AssignedGenericResources: task.genericResources.map((one) => genericResource.print(one)) }),
    Status: printStatus(task.status),
    DesiredState: taskStateName(task.desiredState),
    ...(task.attachments.length > 0 && {
      NetworksAttachments: task.attachments.map((attachment, index) => ({
        Network: networks[index] ? printNetworkObject(networks[index]) : { ID: attachment.networkId },
        ...(attachment.addresses.length > 0 && { Addresses: attachment.addresses }),
      })),
    }),
    ...(task.jobIteration !== undefined && { JobIteration: { Index: task.jobIteration } }),
  }
}

function printStatus(status: TaskStatus): Record<string, unknown> {
  const { container, ports } = status
  return {
    Timestamp: rfc3339(status.at),
    State: taskStateName(status.state),
    Message: status.message,
    ...(status.error && { Err: status.error }),
    ...(container && { ContainerStatus: { ContainerID: container.containerId, PID: container.pid, ExitCode: container.exitCode } }),
    PortStatus: {
      ...(ports &&
        ports.length > 0 && {
          Ports: ports.map(({ name, protocol, targetPort, publishedPort }) => ({
            ...(name && { Name: name }),
            Protocol: protocol,
            TargetPort: targetPort,
            PublishedPort: publishedPort,
            PublishMode: 'host',
          })),
        }),
    },
  }
}
