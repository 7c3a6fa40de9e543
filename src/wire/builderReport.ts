// Reports of tasks from a node to its manager, both ways.
import { create, type MessageShape } from '@bufbuild/protobuf'
import type { TaskId } from '../lib/index.ts'
import { ShoalError } from '../lib/index.ts'
import type { TaskReport } from '../model/index.ts'
import { PortConfig_PublishMode, UpdateTaskStatusRequest_TaskStatusUpdateSchema as UpdateSchema } from '../proto/index.ts'
import { parseTaskState, protocols } from './builderTask.ts'
import { compact, instantOf, int32, timestamp } from './values.ts'

export type TaskStatusUpdate = MessageShape<typeof UpdateSchema>

export function buildTaskReport(report: TaskReport): TaskStatusUpdate {
  return create(UpdateSchema, {
    taskId: report.taskId,
    status: {
      timestamp: timestamp(report.at),
      state: report.state,
      message: report.message,
      err: report.error,
      runtimeStatus: report.container && {
        case: 'container',
        value: {
          containerId: report.container.containerId,
          pid: int32(report.container.pid, 'the process id'),
          exitCode: int32(report.container.exitCode, 'the exit code'),
        },
      },
      portStatus: report.ports && {
        ports: report.ports.map(({ protocol, targetPort, publishedPort }) => ({
          protocol: protocols.toWire(protocol),
          targetPort,
          publishedPort,
          publishMode: PortConfig_PublishMode.HOST,
        })),
      },
    },
  })
}

/** `now` stands in for a missing time. Throws 'invalid-argument' for a report without task, status or known state. */
export function parseTaskReport(update: TaskStatusUpdate, now: number): TaskReport {
  const { taskId, status } = update
  if (!taskId || !status) throw new ShoalError('invalid-argument', 'a task report names no task or no status')
  const container = status.runtimeStatus.case === 'container' ? status.runtimeStatus.value : undefined
  return compact<TaskReport>({
    taskId: taskId as TaskId,
    state: parseTaskState(status.state),
    at: instantOf(status.timestamp) ?? now,
    message: status.message,
    error: status.err,
    container: container && { containerId: container.containerId, pid: container.pid, exitCode: container.exitCode },
    ports: status.portStatus?.ports.map(({ protocol, targetPort, publishedPort }) => ({
      protocol: protocols.fromWire(protocol),
      targetPort,
      publishedPort,
    })),
  })
}
