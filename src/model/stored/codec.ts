// The stored form of each object: bytes for a journal. Tasks are the many, so they have a compact form; the rest is JSON.
import { assert } from '../../lib/index.ts'
import type { Task } from '../objects.ts'

/** Raised when the form changes in a way that an older daemon cannot read. */
export const STORED_SCHEMA = 1

export function encodeStored(table: string, object: object): Uint8Array {
  return Buffer.from(JSON.stringify(table === 'task' ? taskToRow(object as Task) : object))
}

export function decodeStored(table: string, bytes: Uint8Array): object {
  const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
  assert(typeof value === 'object' && value !== null, `a stored ${table} is an object`)
  return table === 'task' ? rowToTask(value as readonly unknown[]) : value
}

const FORM = 1

function taskToRow(task: Task): unknown[] {
  const { status } = task
  const rest: Record<string, unknown> = {}
  for (const key of REST) if (task[key] !== undefined) rest[key] = task[key]
  return [
    FORM,
    task.id,
    task.version,
    task.createdAt,
    task.updatedAt,
    task.serviceId ?? 0,
    task.slot,
    task.nodeId ?? 0,
    task.specVersion,
    task.desiredState,
    [
      status.state,
      status.at,
      status.message,
      status.error,
      status.reason ?? 0,
      status.container ? [status.container.containerId, status.container.pid, status.container.exitCode] : 0,
      status.ports ?? 0,
    ],
    task.attachments,
    rest,
  ]
}

const REST = [
  'genericResources',
  'jobIteration',
  'servedAt',
  'releasedAt',
  'notBefore',
  'restart',
  'endReason',
  'attachmentSpec',
] as const satisfies readonly (keyof Task)[]

type Row = [
  form: number,
  id: Task['id'],
  version: number,
  createdAt: number,
  updatedAt: number,
  serviceId: Task['serviceId'] | 0,
  slot: number,
  nodeId: Task['nodeId'] | 0,
  specVersion: number,
  desiredState: Task['desiredState'],
  status: [Task['status']['state'], number, string, string, string | 0, [string, number, number] | 0, Task['status']['ports'] | 0],
  attachments: Task['attachments'],
  rest: Partial<Task>,
]

function rowToTask(value: readonly unknown[]): Task {
  const [form, id, version, createdAt, updatedAt, serviceId, slot, nodeId, specVersion, desiredState, status, attachments, rest] =
    value as Row
  assert(form === FORM, `stored task form ${form} is known`)
  const [state, at, message, error, reason, container, ports] = status
  return {
    id,
    version,
    createdAt,
    updatedAt,
    serviceId: serviceId || undefined,
    slot,
    nodeId: nodeId || undefined,
    specVersion,
    desiredState,
    status: {
      state,
      at,
      message,
      error,
      ...(reason ? { reason } : {}),
      ...(container ? { container: { containerId: container[0], pid: container[1], exitCode: container[2] } } : {}),
      ...(ports ? { ports } : {}),
    },
    attachments,
    ...rest,
  }
}
