// What was acknowledged is there after a crash, object for object.
import { isDeepStrictEqual } from 'node:util'
import type { View } from '../../store/index.ts'
import type { Checker, Complain } from './types.ts'

const TABLES = ['nodes', 'services', 'specRevisions', 'tasks', 'networks', 'secrets', 'configs', 'rollouts', 'addressHolds'] as const

/**
 * After a restart the store must show what the dead manager had shown (callers had been told), or exactly one commit more (durable, but nobody heard).
 * Compares every object, so a codec that forgets a field is caught too.
 */
export function durability(complain: Complain): Checker {
  return {
    name: 'durability',
    onRestart(before, after) {
      if (after.seq < before.seq) {
        complain('durability', `commit ${before.seq} had been acknowledged, but after the restart the store is at ${after.seq}`)
        return
      }
      if (!after.cluster || !before.cluster) {
        if (before.cluster) complain('durability', 'the cluster object is gone after the restart')
        return
      }
      for (const table of TABLES) compare(table, before, after, complain)
    },
  }
}

function compare(table: (typeof TABLES)[number], before: View, after: View, complain: Complain): void {
  const newer = after.seq > before.seq
  for (const object of before[table].values()) {
    const now = (after[table] as { get(id: string): unknown }).get(object.id) as typeof object | undefined
    if (!now) {
      if (!newer) complain('durability', `${table} ${object.id} (version ${object.version}) is gone after the restart`)
    } else if (now.version === object.version && !isDeepStrictEqual(plain(now), plain(object))) {
      complain('durability', `${table} ${object.id} (version ${object.version}) came back different: ${difference(object, now)}`)
    } else if (now.version < object.version) {
      complain('durability', `${table} ${object.id} went back from version ${object.version} to ${now.version}`)
    }
  }
  if (newer) return
  for (const object of after[table].values()) {
    if (!(before[table] as { get(id: string): unknown }).get(object.id)) complain('durability', `${table} ${object.id} rose from the dead`)
  }
}

/** Absent and undefined are one; prototypes do not count. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}

function difference(a: object, b: object): string {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)])
  const text = (o: object, key: string) => JSON.stringify((o as Record<string, unknown>)[key])
  return [...keys]
    .filter((key) => text(a, key) !== text(b, key))
    .map((key) => `${key}: ${text(a, key)?.slice(0, 200)} became ${text(b, key)?.slice(0, 200)}`)
    .join('; ')
}
