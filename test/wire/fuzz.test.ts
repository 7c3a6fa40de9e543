// Whatever bytes come in: they are refused in order or understood, never a crash.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { ShoalError } from '../../src/lib/index.ts'
import {
  AssignmentsMessageSchema,
  LogMessageSchema,
  NodeDescriptionSchema,
  UpdateTaskStatusRequest_TaskStatusUpdateSchema as ReportSchema,
  SessionMessageSchema,
  SubscriptionMessageSchema,
  TaskSchema,
} from '../../src/proto/index.ts'
import {
  buildTask,
  parseAssignments,
  parseLogLine,
  parseNodeDescription,
  parseSessionMessage,
  parseSubscription,
  parseTask,
  parseTaskReport,
} from '../../src/wire/index.ts'
import { assignedTask } from './arbitrary.ts'

function survives<D extends DescMessage>(schema: D, parse: (message: MessageShape<D>) => unknown, bytes: Uint8Array): void {
  let message: MessageShape<D>
  try {
    message = fromBinary(schema, bytes)
  } catch {
    return // refused by the transport
  }
  try {
    parse(message)
  } catch (error) {
    assert.ok(error instanceof ShoalError, `${schema.name}: ${String(error)}`)
  }
}

test('random bytes as any message harm nobody', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      survives(TaskSchema, parseTask, bytes)
      survives(AssignmentsMessageSchema, parseAssignments, bytes)
      survives(SessionMessageSchema, parseSessionMessage, bytes)
      survives(NodeDescriptionSchema, parseNodeDescription, bytes)
      survives(ReportSchema, (report) => parseTaskReport(report, 0), bytes)
      survives(SubscriptionMessageSchema, parseSubscription, bytes)
      survives(LogMessageSchema, parseLogLine, bytes)
    }),
    { numRuns: 3_000 },
  )
})

test('a task with flipped bytes harms nobody', () => {
  fc.assert(
    fc.property(assignedTask, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }), (task, flips) => {
      const bytes = toBinary(TaskSchema, buildTask(task, { ownAgent: true }))
      for (const [at, value] of flips) bytes[at % bytes.length] = value
      survives(TaskSchema, parseTask, bytes)
    }),
    { numRuns: 1_000 },
  )
})
