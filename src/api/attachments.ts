// Single containers on networks of the swarm: their places are asked for before the engine hears of them, and given back when they are gone.
import { readFile, writeFile } from 'node:fs/promises'
import type { NetworkAttachment } from '../agent/index.ts'
import { errorText, isShoalError, SECOND_MS, ShoalError } from '../lib/index.ts'
import type { App } from './app.ts'
import { HttpError } from './http/errors.ts'
import type { SwarmNetwork } from './networks.ts'

/** Label of a container that was made on a network of the swarm; the network's id follows, the value is the attachment. */
export const ATTACHMENT_LABEL = 'shoal.attachment.'

/** A container is made right after its place; one without a container for so long was given up. */
const GRACE_MS = 30 * SECOND_MS
const SWEEP_MS = 30 * SECOND_MS
const RETRY_MS = 2 * SECOND_MS

export interface Place {
  readonly networkId: string
  readonly containerId: string | undefined
  readonly aliases: readonly string[]
  readonly address: string | undefined
}

/** Refusals have Docker's words. */
export async function takePlace(app: App, network: Pick<SwarmNetwork, 'name'>, place: Place): Promise<NetworkAttachment> {
  const { networkId: target, containerId, aliases, address } = place
  const attachments = app.deps.attachments?.()
  if (!attachments) throw new ShoalError('unavailable', `this node cannot attach containers to the swarm network ${network.name} now`)
  try {
    return await attachments.attachNetwork({ target, containerId, aliases: [...new Set(aliases)], ...(address ? { address } : {}) })
  } catch (error) {
    if (!isShoalError(error)) throw error
    const next = error.next === undefined ? '' : `. ${error.next}`
    const said = `Could not attach to network ${network.name}: `
    if (error.code === 'permission-denied') throw new HttpError(403, `${said}rpc error: code = PermissionDenied desc = ${error.message}`)
    throw new ShoalError(error.code, `${said}${error.message}${next}`, { cause: error })
  }
}

/** When it cannot be given back now, the sweep does it. */
export async function giveBack(app: App, attachmentIds: readonly string[]): Promise<void> {
  for (const id of attachmentIds) {
    try {
      await app.deps.attachments?.()?.detachNetwork(id)
    } catch (error) {
      app.deps.log.info('a place on a network is given back later', { attachment: id, error: errorText(error) })
    }
  }
}

interface EngineContainer {
  readonly Id: string
  readonly Labels?: Readonly<Record<string, string>> | null
}

interface EngineEvent {
  readonly Action?: string
  readonly Actor?: { readonly ID?: string; readonly Attributes?: Readonly<Record<string, string>> }
}

/** Attachment ids in a container's labels. */
export function labelled(labels: Readonly<Record<string, string>> | null | undefined): readonly string[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]) => (key.startsWith(ATTACHMENT_LABEL) ? [value] : []))
}

/** Follows the engine until the signal aborts: containers that go give their places back. Never rejects. */
export async function keepPlaces(app: App, signal: AbortSignal): Promise<void> {
  const missingSinceMs = new Map<string, number>()
  while (!signal.aborted) {
    try {
      if (app.deps.attachments?.()) {
        await sweep(app, missingSinceMs)
        await followEngine(app, missingSinceMs, signal)
      }
    } catch (error) {
      if (!signal.aborted) app.deps.log.debug('containers on swarm networks are not followed now', { error: errorText(error) })
    }
    await app.deps.clock.sleep(RETRY_MS, signal).catch(() => {}) // closing
  }
}

async function followEngine(app: App, missingSinceMs: Map<string, number>, outer: AbortSignal): Promise<void> {
  const scope = new AbortController()
  const { signal } = scope
  const end = () => scope.abort()
  outer.addEventListener('abort', end, { once: true })
  const filters = encodeURIComponent(JSON.stringify({ type: ['container'], event: ['destroy', 'start'] }))
  let rest = ''
  const sweeping = sweepAgain(app, missingSinceMs, signal)
  try {
    const stream = await app.engine.stream({ method: 'GET', path: `/events?filters=${filters}`, signal })
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      const lines = (rest + chunk.toString('utf8')).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line.trim() !== '') await react(app, JSON.parse(line) as EngineEvent)
      if (!app.deps.attachments?.()) return // left the swarm
    }
  } finally {
    outer.removeEventListener('abort', end)
    scope.abort()
    await sweeping
  }
}

async function sweepAgain(app: App, missingSinceMs: Map<string, number>, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await app.deps.clock.sleep(SWEEP_MS, signal)
    } catch {
      return
    }
    await sweep(app, missingSinceMs).catch((error) =>
      app.deps.log.debug('the engine does not tell its containers', { error: errorText(error) }),
    )
  }
}

async function react(app: App, { Action, Actor }: EngineEvent): Promise<void> {
  const id = Actor?.ID
  if (id === undefined) return
  const places = app.deps.attachments?.()
  const own = (places?.attachments() ?? []).filter((one) => one.containerId === id)
  const marked = labelled(Actor?.Attributes)
  if (Action === 'destroy') await giveBack(app, [...own.map((one) => one.id), ...marked])
  // the engine writes resolv.conf anew at each start
  if (Action === 'start' && own[0]) await serveNames(app, id, own[0])
  if (Action === 'start') await places?.setContainers(new Map([...own.map((one) => one.id), ...marked].map((place) => [place, id])))
}

/** Places whose container is not there, for longer than it takes to make one. */
async function sweep(app: App, missingSinceMs: Map<string, number>): Promise<void> {
  const attachments = app.deps.attachments?.()?.attachments() ?? []
  if (attachments.length === 0) {
    missingSinceMs.clear()
    return
  }
  const containers = (await app.engine.json({ method: 'GET', path: '/containers/json?all=1' })) as EngineContainer[]
  const ids = new Set(containers.map(({ Id }) => Id))
  const homes = new Map(containers.flatMap(({ Id, Labels }) => labelled(Labels).map((place) => [place, Id] as const)))
  for (const { id, containerId } of attachments) if (ids.has(containerId)) homes.set(id, containerId)
  await app.deps.attachments?.()?.setContainers(homes)
  const marked = new Set(containers.flatMap(({ Labels }) => labelled(Labels)))
  const nowMs = app.deps.clock.monotonicMs()
  const missing = new Map<string, number>()
  for (const { id, containerId } of attachments) {
    if (ids.has(containerId) || marked.has(id)) continue
    const sinceMs = missingSinceMs.get(id) ?? nowMs
    missing.set(id, sinceMs)
    if (nowMs - sinceMs >= GRACE_MS) await giveBack(app, [id])
  }
  missingSinceMs.clear()
  for (const [id, sinceMs] of missing) missingSinceMs.set(id, sinceMs)
}

/**
 * A container that was connected afterwards asks the name server that it was made with. Where it was on the default bridge only, it loses nothing when it asks ours;
 * on other networks the engine's own resolver knows names that we do not, so there it stays.
 */
export async function serveNames(app: App, containerId: string, { dns, engineNetwork }: NetworkAttachment): Promise<void> {
  if (dns === undefined) return
  try {
    const path = `/containers/${containerId}/json`
    const container = (await app.engine.json({ method: 'GET', path })) as {
      ResolvConfPath?: string
      Config?: { Labels?: Record<string, string> | null }
      State?: { Running?: boolean }
      NetworkSettings?: { Networks?: Record<string, unknown> }
    }
    if (labelled(container.Config?.Labels).length > 0) return // it was made on a network of ours, and asks us already
    const others = Object.keys(container.NetworkSettings?.Networks ?? {}).filter((name) => name !== engineNetwork.name && name !== 'bridge')
    if (!container.State?.Running || !container.ResolvConfPath || others.some((name) => !name.startsWith('shoal-'))) return
    const text = await readFile(container.ResolvConfPath, 'utf8')
    const kept = text.split('\n').filter((line) => line.trim() !== '' && !/^\s*nameserver\b/.test(line))
    await writeFile(container.ResolvConfPath, `${[`nameserver ${dns}`, ...kept].join('\n')}\n`)
  } catch (error) {
    app.deps.log.info('a connected container does not know the names of the swarm', { container: containerId, error: errorText(error) })
  }
}
