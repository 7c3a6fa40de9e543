// Recent events of the swarm for replay, and those to come for listeners. Follows whichever store this node leads.
import { SECOND_MS } from '../../lib/index.ts'
import type { LocalNode } from '../../node/index.ts'
import type { Clock, Timer } from '../../ports/index.ts'
import type { Store } from '../../store/index.ts'
import type { EventFile } from './eventFile.ts'
import { eventsOf, type SwarmEvent } from './swarmEvents.ts'

/** Events kept for `since`. */
const MAX_EVENTS = 2048
/** How soon a store that this node has begun or ceased to lead is noticed. */
const LOOK_EVERY_MS = SECOND_MS / 2

export interface EventHub {
  /** Looks for the present store now; called before and after whatever may have changed it. */
  follow(): void
  recent(): readonly SwarmEvent[]
  /** Resolves when what an earlier run has kept is among the recent events. */
  ready(): Promise<void>
  /** Returns the unsubscriber. Listeners must not throw. */
  listen(listener: (event: SwarmEvent) => void): () => void
  close(): void
}

export function createEventHub(node: LocalNode, clock: Clock, file?: EventFile): EventHub {
  const listeners = new Set<(event: SwarmEvent) => void>()
  let events: SwarmEvent[] = []
  let store: Store | undefined
  let unwatch = () => {}
  let timer: Timer | undefined

  const follow = () => {
    const present = node.manager()?.store
    if (present === store) return
    unwatch()
    unwatch = () => {}
    store = present
    if (!present) return
    const stop = present.watch((commit) => {
      const fresh = eventsOf(commit)
      if (fresh.length === 0) return
      events.push(...fresh)
      file?.append(fresh)
      if (events.length > 2 * MAX_EVENTS) events = events.slice(-MAX_EVENTS)
      for (const event of fresh) for (const listener of listeners) listener(event)
    })
    unwatch = stop
  }
  const look = () => {
    follow()
    timer = clock.setTimer(LOOK_EVERY_MS, look)
  }
  look()
  // what happened meanwhile is newer
  const loaded = file?.load(MAX_EVENTS).then((past) => {
    events = [...past, ...events]
  })

  return {
    ready: async () => await loaded,
    follow,
    recent: () => events,
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      timer?.cancel()
      unwatch()
      listeners.clear()
    },
  }
}
