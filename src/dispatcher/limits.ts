// The dispatcher's bounds and periods, each with its reason.

export const LIMITS = {
  /** Reports of tasks wait this long for company: one transaction for all of them. */
  statusBatchMs: 50,
  /** Changes of assignments wait this long for company, and no message holds more (both as SwarmKit does). */
  assignmentBatchMs: 100,
  assignmentBatchChanges: 100,
  /** Registrations of one node: a crashing engine must not keep the store busy. SwarmKit's figures. */
  registrations: 3,
  registrationWindowMs: 8_000,
  /** A node is down after this many heartbeat periods without a sign of life ... */
  heartbeatGrace: 3,
  /** ... and after twice that when we have just started and know nothing of the past. */
  startGraceFactor: 2,
  /** Part of the period by which each answer differs, so that nodes do not beat together. */
  heartbeatJitter: 0.1,
  pingPeriodMs: 1_000,
  /** Our own agents: down after this long without a pong, with at least so many pings missed. */
  ownDownAfterMs: 5_000,
  ownMissedPings: 3,
  /** A timer that comes later than this was held up by ourselves: nobody else is to blame for the silence. */
  ownLagMs: 500,
  /** Tasks of a node that has been down this long will never be heard of again. */
  orphanAfterMs: 24 * 3_600_000,
  /** Changes of the mesh wait this long for company. */
  meshBatchMs: 20,
  /** Acknowledgements of the mesh are told to the loops together. */
  ackBatchMs: 5,
  /** What was removed from the mesh is remembered, so that agents can resume; beyond this they get a snapshot. */
  meshTombstones: 10_000,
  /** Log lines that wait for a slow reader; then its nodes wait too. */
  logQueueLines: 1_000,
  /** A node that was asked for logs answers within this time or counts as a gap. */
  logAnswerMs: 10_000,
  /** Open log subscriptions per cluster. */
  logSubscriptions: 1_000,
  /** Streams into tasks that one manager has open. */
  tunnels: 500,
  /** A node that was asked for a stream opens it within this time. */
  tunnelAnswerMs: 10_000,
} as const

export type DispatcherLimits = { readonly [K in keyof typeof LIMITS]: number }
