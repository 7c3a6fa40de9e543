// Makes images present: what is pinned by digest or id is not pulled again; a failed pull falls back to the local image.
import { createInterface } from 'node:readline'
import { errorText, isShoalError, type Logger, ShoalError } from '../../lib/index.ts'
import { parseImageReference } from '../../model/index.ts'
import type { Clock } from '../../ports/index.ts'
import { type DockerHttp, unreachableEngine } from './http.ts'
import { object, text } from './json.ts'

export interface EnsureImageOptions {
  readonly registryAuth?: string
  readonly signal?: AbortSignal
  readonly progress?: (text: string) => void
}

/** A pull that says nothing for so long is given up: sooner when there is an image to start at once. */
const SILENCE_MS = 120_000
const SILENCE_WITH_LOCAL_MS = 15_000

interface Deps {
  readonly http: DockerHttp
  readonly clock: Clock
  readonly log: Logger
}

interface Pull {
  readonly done: Promise<void>
  readonly abort: AbortController
  readonly listeners: Set<(text: string) => void>
  waiters: number
}

/** Tasks that start together share one pull; it is given up when nobody waits for it any more. */
export function createImages(deps: Deps): { ensure(image: string, options: EnsureImageOptions): Promise<void> } {
  const pulls = new Map<string, Pull>()

  const begin = (key: string, image: string, registryAuth: string | undefined): Pull => {
    const abort = new AbortController()
    const listeners = new Set<(text: string) => void>()
    const done = ensure(deps, image, registryAuth, abort.signal, (line) => {
      for (const listener of listeners) listener(line)
    }).finally(() => {
      if (pulls.get(key) === pull) pulls.delete(key)
    })
    done.catch(() => {}) // each waiter hears of it; there may be none left
    const pull: Pull = { done, abort, listeners, waiters: 0 }
    pulls.set(key, pull)
    return pull
  }

  return {
    async ensure(image, { registryAuth, signal, progress }) {
      const key = `${image}\n${registryAuth ?? ''}`
      const pull = pulls.get(key) ?? begin(key, image, registryAuth)
      pull.waiters += 1
      if (progress) pull.listeners.add(progress)
      try {
        await untilAborted(pull.done, signal)
      } finally {
        if (progress) pull.listeners.delete(progress)
        pull.waiters -= 1
        if (pull.waiters === 0) {
          if (pulls.get(key) === pull) pulls.delete(key)
          pull.abort.abort()
        }
      }
    },
  }
}

async function ensure(
  deps: Deps,
  image: string,
  registryAuth: string | undefined,
  signal: AbortSignal,
  progress: (text: string) => void,
): Promise<void> {
  const reference = parseImageReference(image)
  const local = await isLocal(deps.http, image, signal)
  if (local && (reference === undefined || reference.digest !== undefined)) return
  try {
    if (!reference) throw new ShoalError('not-found', `No such image: ${image}`)
    await pull(deps, image, registryAuth, local ? SILENCE_WITH_LOCAL_MS : SILENCE_MS, signal, progress)
  } catch (error) {
    if (signal.aborted) throw error
    // Another task's image may have come meanwhile; and "unavailable" may mean a pull without progress, so ask the engine.
    if (local || (await isLocal(deps.http, image, signal))) {
      deps.log.info('pull failed, using the local image', { image, error: errorText(error) })
      return
    }
    throw new ShoalError('not-found', `No such image: ${withTag(image)}`, { next: errorText(error), cause: error })
  }
}

async function isLocal(http: DockerHttp, image: string, signal: AbortSignal): Promise<boolean> {
  try {
    await http.json({ method: 'GET', path: `/images/${image}/json`, signal })
    return true
  } catch (error) {
    if (isShoalError(error, 'not-found') || isShoalError(error, 'invalid-argument')) return false
    throw error
  }
}

async function pull(
  { http, clock }: Deps,
  image: string,
  registryAuth: string | undefined,
  silenceMs: number,
  outer: AbortSignal,
  progress: (text: string) => void,
): Promise<void> {
  const silent = new AbortController()
  const signal = AbortSignal.any([outer, silent.signal])
  let timer = clock.setTimer(silenceMs, () => silent.abort())
  try {
    const { name, tag } = splitForPull(image)
    const headers = registryAuth ? { 'x-registry-auth': registryAuth } : undefined
    const response = await http.stream({
      method: 'POST',
      path: '/images/create',
      query: { fromImage: name, tag },
      headers,
      signal,
      timeoutMs: silenceMs,
    })
    // errors of a pull arrive inside the answer
    for await (const line of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })) {
      timer.cancel()
      timer = clock.setTimer(silenceMs, () => silent.abort())
      const item = parse(line)
      if (text(item.error)) throw new ShoalError('unknown', text(item.error))
      const status = [text(item.id), text(item.status), text(item.progress)].filter((part) => part !== '').join(' ')
      if (status) progress(status)
    }
    if (!response.complete) throw new ShoalError('unavailable', 'the engine broke off the pull')
  } catch (error) {
    if (silent.signal.aborted && !outer.aborted)
      throw new ShoalError('deadline-exceeded', `no progress in pulling ${image} for ${silenceMs / 1000} s`)
    throw unreachableEngine(error, outer)
  } finally {
    timer.cancel()
  }
}

function parse(line: string): Readonly<Record<string, unknown>> {
  try {
    return object(JSON.parse(line))
  } catch {
    return {}
  }
}

/** Without a tag the engine would pull all tags of a name. */
function splitForPull(image: string): { name: string; tag: string } {
  const at = image.indexOf('@')
  if (at >= 0) return { name: withoutTag(image.slice(0, at)), tag: image.slice(at + 1) }
  const name = withoutTag(image)
  return { name, tag: name === image ? 'latest' : image.slice(name.length + 1) }
}

function withoutTag(name: string): string {
  const colon = name.lastIndexOf(':')
  return colon > name.lastIndexOf('/') ? name.slice(0, colon) : name
}

/** `nginx` as `nginx:latest`, as the engine says it. */
function withTag(image: string): string {
  const reference = parseImageReference(image)
  return reference && reference.tag === undefined && reference.digest === undefined ? `${image}:latest` : image
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new ShoalError('canceled', 'the pull was canceled'))
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
