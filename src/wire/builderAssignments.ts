// Assignments: what a node has to run and the secrets and configs for it, as a chain of changes.
import { create } from '@bufbuild/protobuf'
import type { ConfigId, SecretId, TaskId } from '../lib/index.ts'
import { ShoalError } from '../lib/index.ts'
import type { AssignedConfig, AssignedSecret, AssignedTask } from '../model/index.ts'
import {
  AssignmentChange_AssignmentAction as Action,
  type Assignment,
  AssignmentSchema,
  type AssignmentsMessage,
  AssignmentsMessageSchema,
  AssignmentsMessage_Type as Type,
} from '../proto/index.ts'
import { type BuildTaskOptions, buildTask, parseDriver, parseTask } from './builderTask.ts'
import { compact, labels, mustSend } from './values.ts'

export type AssignmentChange =
  | { readonly action: 'update'; readonly kind: 'task'; readonly task: AssignedTask; readonly endpoint?: BuildTaskOptions['endpoint'] }
  | { readonly action: 'update'; readonly kind: 'secret'; readonly secret: AssignedSecret }
  | { readonly action: 'update'; readonly kind: 'config'; readonly config: AssignedConfig }
  | { readonly action: 'remove'; readonly kind: 'task'; readonly id: TaskId }
  | { readonly action: 'remove'; readonly kind: 'secret'; readonly id: SecretId }
  | { readonly action: 'remove'; readonly kind: 'config'; readonly id: ConfigId }

/** A complete set removes everything that is not in it; later ones are applied on top of what `appliesTo` named. */
export interface Assignments {
  readonly complete: boolean
  /** `resultsIn` of the message before on this stream; '' in the first. */
  readonly appliesTo: string
  readonly resultsIn: string
  readonly changes: readonly AssignmentChange[]
}

/** A wrong `appliesTo` sends a stock engine into an endless loop of reopened streams: keep the chain (wire-protocol 6.2). */
export function buildAssignments(assignments: Assignments, ownAgent: boolean): AssignmentsMessage {
  const { complete, appliesTo, resultsIn } = assignments
  mustSend(resultsIn, 'assignments without a result')
  mustSend(complete === (appliesTo === ''), 'assignments whose chain is broken')
  return create(AssignmentsMessageSchema, {
    type: complete ? Type.COMPLETE : Type.INCREMENTAL,
    appliesTo,
    resultsIn,
    changes: assignments.changes.map((change) => ({
      assignment: buildAssignment(change, ownAgent),
      action: change.action === 'update' ? Action.UPDATE : Action.REMOVE,
    })),
  })
}

function buildAssignment(change: AssignmentChange, ownAgent: boolean): Assignment {
  return create(AssignmentSchema, { item: assignmentItem(change, ownAgent) })
}

function assignmentItem(change: AssignmentChange, ownAgent: boolean) {
  if (change.action === 'remove') {
    mustSend(change.id, 'the removal of nothing')
    return { case: change.kind, value: { id: change.id } }
  }
  switch (change.kind) {
    case 'task':
      return { case: 'task' as const, value: buildTask(change.task, { ownAgent, endpoint: change.endpoint }) }
    case 'secret':
    case 'config': {
      const object: AssignedSecret | AssignedConfig = change.kind === 'secret' ? change.secret : change.config
      mustSend(object.id && object.name, `a ${change.kind} without id or name`)
      return {
        case: change.kind,
        value: {
          id: object.id,
          meta: { version: { index: 0n } },
          spec: {
            annotations: { name: object.name, labels: object.labels },
            data: object.data,
            templating: object.templating && { name: object.templating.name, options: object.templating.options },
          },
        },
      }
    }
  }
}

/** What an unknown kind of assignment (CSI volumes) brings is left out. */
export function parseAssignments(message: AssignmentsMessage): Assignments {
  return {
    complete: message.type === Type.COMPLETE,
    appliesTo: message.appliesTo,
    resultsIn: message.resultsIn,
    changes: message.changes.flatMap(({ assignment, action }) => {
      const change = parseChange(assignment, action === Action.REMOVE)
      return change ? [change] : []
    }),
  }
}

function parseChange(assignment: Assignment | undefined, remove: boolean): AssignmentChange | undefined {
  const item = assignment?.item
  switch (item?.case) {
    case 'task':
      if (remove) return { action: 'remove', kind: 'task', id: item.value.id as TaskId }
      return { action: 'update', kind: 'task', task: parseTask(item.value) }
    case 'secret':
    case 'config': {
      if (remove) return { action: 'remove', kind: item.case, id: item.value.id as SecretId & ConfigId }
      const { id, spec } = item.value
      if (!spec) throw new ShoalError('invalid-argument', `${item.case} ${id} came without its spec`)
      const object = compact({
        id: id as SecretId & ConfigId,
        name: spec.annotations?.name ?? '',
        labels: labels(spec.annotations?.labels ?? {}),
        data: spec.data,
        templating: spec.templating && parseDriver(spec.templating),
      })
      return item.case === 'secret'
        ? { action: 'update', kind: 'secret', secret: object }
        : { action: 'update', kind: 'config', config: object }
    }
    default:
      return undefined
  }
}
