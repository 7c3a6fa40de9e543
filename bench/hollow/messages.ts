// What the processes of the bench say to each other over their IPC channels.

export interface Usage {
  readonly cpuSeconds: number
  readonly rssMib: number
}

/** From the orchestrator. */
export type Order =
  | { readonly kind: 'usage' }
  /** Tell when so many tasks of the service run on nodes that are up. */
  | { readonly kind: 'watch'; readonly running: number }
  | { readonly kind: 'stop' }

/** To the orchestrator. */
export type News =
  | { readonly kind: 'manager-ready'; readonly address: string; readonly token: string }
  | { readonly kind: 'nodes-ready' }
  | ({ readonly kind: 'usage' } & Usage)
  | { readonly kind: 'reached'; readonly running: number; readonly commits: number }
  | { readonly kind: 'progress'; readonly running: number; readonly commits: number; readonly states: Readonly<Record<string, number>> }

export function tell(news: News): void {
  process.send?.(news)
}

export function usage(): Usage {
  const { user, system } = process.cpuUsage()
  return { cpuSeconds: (user + system) / 1e6, rssMib: process.memoryUsage.rss() / 2 ** 20 }
}
