// No two owners of one address (moby 31694, 33795, 40989), whatever crashes.
import type { TaskId } from '../../lib/index.ts'
import type { Service, Task } from '../../model/index.ts'
import type { View } from '../../store/index.ts'
import { type Checker, type Complain, isOver } from './types.ts'

/** An address belongs to one task that is not over, or is one service's VIP; and a published port belongs to one service. */
export function addresses(complain: Complain): Checker {
  /** `network address` or `tcp 80` -> who has it. */
  const owners = new Map<string, string>()

  const take = (what: string, owner: string, isAlive: (owner: string) => boolean): void => {
    const known = owners.get(what)
    if (known !== undefined && known !== owner && isAlive(known))
      complain('one-owner-per-address', `${what} belongs to ${known} and to ${owner}`)
    owners.set(what, owner)
  }

  const drop = (what: string, owner: string): void => {
    if (owners.get(what) === owner) owners.delete(what)
  }

  return {
    name: 'addresses',
    onCommit(commit, view) {
      // First what was given up in this commit, then what was taken: their order within a commit is not seen.
      for (const change of commit.changes) {
        if (change.table === 'task' && change.before && (!change.after || isOver(change.after))) {
          for (const what of taskAddresses(change.before)) drop(what, `task ${change.id}`)
        }
        if (change.table === 'service' && change.before)
          for (const what of serviceAddresses(change.before)) drop(what, `service ${change.id}`)
      }
      for (const change of commit.changes) {
        if (change.table === 'task' && change.after && !isOver(change.after)) {
          for (const what of taskAddresses(change.after)) take(what, `task ${change.id}`, (owner) => isAlive(owner, view))
        }
        if (change.table === 'service' && change.after) {
          for (const what of serviceAddresses(change.after)) take(what, `service ${change.id}`, (owner) => isAlive(owner, view))
        }
      }
    },
    onRestart() {
      owners.clear()
    },
  }
}

function isAlive(owner: string, view: View): boolean {
  const [kind, id = ''] = owner.split(' ')
  if (kind === 'service') return view.services.get(id as Service['id']) !== undefined
  const task = view.tasks.get(id as TaskId)
  return task !== undefined && !isOver(task)
}

function* taskAddresses(task: Task): Generator<string> {
  for (const { networkId, addresses } of task.attachments) for (const address of addresses) yield `${networkId} ${plain(address)}`
}

function* serviceAddresses(service: Service): Generator<string> {
  for (const { networkId, address } of service.endpoint?.vips ?? []) yield `${networkId} ${plain(address)}`
  for (const port of service.endpoint?.ports ?? []) {
    if (port.publishMode === 'ingress' && port.publishedPort > 0) yield `port ${port.protocol}/${port.publishedPort}`
  }
}

function plain(cidr: string): string {
  return cidr.slice(0, cidr.indexOf('/') < 0 ? undefined : cidr.indexOf('/'))
}
