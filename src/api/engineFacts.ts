// What the API says of itself depends on the engine behind: versions and a few headers, asked for now and then.
import { SECOND_MS, ShoalError } from '../lib/index.ts'
import type { Clock } from '../ports/index.ts'
import type { EngineClient } from '../proxy/index.ts'
import type { ApiVersion } from './json/gates.ts'

/** An engine that was upgraded is noticed after this long. */
const MAX_AGE_MS = 30 * SECOND_MS

export interface Facts {
  /** `1.41` */
  readonly apiVersion: string
  readonly minApiVersion: string
  readonly experimental: boolean
  readonly builderVersion: string | undefined
}

export interface EngineFacts {
  /** What was heard last; undefined before the engine has ever answered. */
  last(): Facts | undefined
  /** Fresh enough facts, or the last ones when the engine is away. 'unavailable' when it has never answered. */
  get(): Promise<Facts>
}

export function createEngineFacts(engine: EngineClient, clock: Clock): EngineFacts {
  let facts: Facts | undefined
  let at = 0
  let asking: Promise<void> | undefined

  const ask = async () => {
    const [version, ping] = await Promise.all([
      engine.json({ method: 'GET', path: '/version' }),
      engine.ask({ method: 'GET', path: '/_ping' }),
    ])
    const { ApiVersion, MinAPIVersion } = version as { ApiVersion?: unknown; MinAPIVersion?: unknown }
    facts = {
      apiVersion: typeof ApiVersion === 'string' ? ApiVersion : '1.41',
      minApiVersion: typeof MinAPIVersion === 'string' && MinAPIVersion !== '' ? MinAPIVersion : '1.12',
      experimental: ping.headers['docker-experimental'] === 'true',
      builderVersion: ping.headers['builder-version'] as string | undefined,
    }
    at = clock.monotonicMs()
  }

  return {
    last: () => facts,
    async get() {
      if (facts && clock.monotonicMs() - at < MAX_AGE_MS) return facts
      asking ??= ask().finally(() => {
        asking = undefined
      })
      try {
        await asking
      } catch (error) {
        if (!facts) throw error
      }
      return facts!
    },
  }
}

export function parseApiVersion(text: string): ApiVersion {
  const [major = 0, minor = 0] = text.split('.').map(Number)
  return { major, minor }
}

function isLess(a: ApiVersion, b: ApiVersion): boolean {
  return a.major < b.major || (a.major === b.major && a.minor < b.minor)
}

/** Refuses a version in the path that the engine behind would refuse too, in Docker's words. */
export function requireSupportedVersion(version: ApiVersion, facts: Facts): void {
  const text = `${version.major}.${version.minor}`
  if (isLess(parseApiVersion(facts.apiVersion), version)) {
    throw new ShoalError('invalid-argument', `client version ${text} is too new. Maximum supported API version is ${facts.apiVersion}`)
  }
  if (isLess(version, parseApiVersion(facts.minApiVersion))) {
    throw new ShoalError(
      'invalid-argument',
      `client version ${text} is too old. Minimum supported API version is ${facts.minApiVersion}, please upgrade your client to a newer version`,
    )
  }
}
