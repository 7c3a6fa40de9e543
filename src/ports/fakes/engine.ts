// A deterministic engine in memory on the Clock port: containers that start, get healthy, fail and stop as told. For tests and the simulator.
import { BoundedQueue, type Instant, ShoalError } from '../../lib/index.ts'
import type { Clock, Timer } from '../clock.ts'
import type {
  ContainerPlan,
  ContainerState,
  Engine,
  EngineEvent,
  EngineInfo,
  EngineLogLine,
  EngineNetworkPlan,
  FilePlan,
} from '../engine.ts'

/** How a container behaves; what is left out is the default of the engine. */
export interface FakeBehaviour {
  readonly startMs?: number
  /** The process ends this long after its stop signal; when that is longer than the grace it is killed (exit code 137). */
  readonly stopMs?: number
  /** Exit code after its stop signal. */
  readonly stopExitCode?: number
  /** The process ends by itself this long after its start. */
  readonly exitAfterMs?: number
  readonly exitCode?: number
  /** What its health check says, this long after the start. Without it a container with a health check gets healthy after one interval. */
  readonly health?: { readonly afterMs: number; readonly outcome: 'healthy' | 'unhealthy' }
  /** The plan cannot work: create fails with this text. */
  readonly createError?: string
  /** Start fails with this text. */
  readonly startError?: string
}

export interface FakeEngineOptions {
  readonly clock: Clock
  readonly hostname?: string
  readonly info?: Partial<EngineInfo>
  /** Images that are there; undefined = every image is. */
  readonly images?: Iterable<string>
  /** Images that a pull can bring. */
  readonly registry?: Iterable<string>
  readonly behaviour?: (plan: ContainerPlan) => FakeBehaviour
  /** Time of a pull. */
  readonly pullMs?: number
  /** Time of every other call. */
  readonly callMs?: number
}

export interface FakeContainer extends ContainerState {
  readonly plan: ContainerPlan
  /** Signals other than SIGKILL that it got. */
  readonly signals: readonly string[]
  /** As they are now. */
  readonly files: readonly FilePlan[]
}

/** The controls play what happens outside: people, crashes, kernels. */
export interface FakeEngine extends Engine {
  /** All containers, in order of creation. */
  containers(): readonly FakeContainer[]
  networks(): readonly EngineNetworkPlan[]
  setImage(image: string, present: boolean): void
  /** The main process ends. */
  exit(containerId: string, exitCode: number): void
  setHealth(containerId: string, health: 'healthy' | 'unhealthy'): void
  /** `docker rm -f` by a person. */
  removeByHand(containerId: string): void
  /** The container writes a line. */
  print(containerId: string, stream: 'stdout' | 'stderr', text: string): void
  /** kill -9 of the engine under live-restore: containers go on, calls fail as 'unavailable', events are lost. */
  down(): void
  up(): void
  /** The host loses power: every running container is dead, the engine is down. */
  powerOff(): void
}

interface Container {
  state: ContainerState
  readonly plan: ContainerPlan
  readonly behaviour: FakeBehaviour
  readonly timers: Set<Timer>
  readonly lines: EngineLogLine[]
  readonly signals: string[]
  files: readonly FilePlan[]
  readonly followers: Set<BoundedQueue<EngineLogLine>>
  /** Resolved when it stops running. */
  readonly stopped: Set<() => void>
}

const DEFAULTS = { startMs: 200, stopMs: 50, stopExitCode: 143 } as const
const EVENT_LIMIT = 100_000
const LINE_LIMIT = 100_000
const FIRST_RANDOM_PORT = 32_768

export function createFakeEngine(options: FakeEngineOptions): FakeEngine {
  const { clock, callMs = 1, pullMs = 500 } = options
  const images = options.images ? new Set(options.images) : undefined
  const registry = new Set(options.registry ?? [])
  const all = new Map<string, Container>()
  const networks = new Map<string, EngineNetworkPlan>()
  const listeners = new Set<BoundedQueue<EngineEvent>>()
  /** Calls under way: when the engine dies they fail at once. */
  const pending = new Set<(error: unknown) => void>()
  let isDown = false
  let made = 0
  let nextPort = FIRST_RANDOM_PORT

  const away = () => new ShoalError('unavailable', 'cannot connect to the engine')
  const notFound = (id: string) => new ShoalError('not-found', `No such container: ${id}`)

  /** A call takes time; when the engine goes down meanwhile, the caller learns only that. */
  const call = <T>(delayMs: number, work: () => T, signal?: AbortSignal): Promise<T> => {
    if (isDown) return Promise.reject(away())
    return new Promise<T>((resolve, reject) => {
      const fail = (error: unknown) => {
        timer.cancel()
        settled()
        reject(error)
      }
      const timer = clock.setTimer(delayMs, () => {
        settled()
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      })
      const cancel = () => fail(new ShoalError('canceled', 'the call was canceled'))
      const settled = () => {
        pending.delete(fail)
        signal?.removeEventListener('abort', cancel)
      }
      pending.add(fail)
      if (signal?.aborted) cancel()
      else signal?.addEventListener('abort', cancel, { once: true })
    })
  }

  const emit = (container: Container, action: Extract<EngineEvent, { kind: 'container' }>['action']) => {
    if (isDown) return
    const { id, labels } = container.state
    for (const queue of listeners) queue.push({ kind: 'container', action, containerId: id, labels })
  }

  const find = (idOrName: string): Container => {
    const found = all.get(idOrName) ?? [...all.values()].find((container) => container.state.name === idOrName)
    if (!found) throw notFound(idOrName)
    return found
  }

  const update = (container: Container, change: Partial<ContainerState>) => {
    container.state = { ...container.state, ...change }
  }

  const after = (container: Container, delayMs: number, work: () => void) => {
    const timer = clock.setTimer(delayMs, () => {
      container.timers.delete(timer)
      work()
    })
    container.timers.add(timer)
  }

  const ended = (container: Container, exitCode: number) => {
    if (container.state.status !== 'running') return
    for (const timer of container.timers) timer.cancel()
    container.timers.clear()
    update(container, { status: 'exited', pid: 0, exitCode, finishedAt: clock.now(), ports: [] })
    for (const queue of container.followers) queue.close()
    container.followers.clear()
    for (const done of container.stopped) done()
    container.stopped.clear()
    emit(container, 'die')
  }

  const setHealth = (container: Container, health: 'healthy' | 'unhealthy') => {
    if (container.state.status !== 'running') return
    update(container, { health })
    emit(container, 'health')
  }

  const destroy = (container: Container) => {
    ended(container, 137)
    all.delete(container.state.id)
    emit(container, 'destroy')
  }

  const begin = (container: Container) => {
    if (container.state.status === 'running') return
    const { plan, behaviour } = container
    const clash = [...all.values()].find((other) =>
      other.state.ports.some((port) => plan.hostPorts.some((mine) => mine.published === port.published && mine.protocol === port.protocol)),
    )
    if (behaviour.startError) {
      update(container, { exitCode: 127, error: behaviour.startError })
      throw new ShoalError('invalid-argument', behaviour.startError)
    }
    if (clash) throw new ShoalError('internal', `Bind for 0.0.0.0 failed: port is already allocated by ${clash.state.name}`)
    const checked = plan.healthcheck !== undefined && plan.healthcheck.test[0] !== 'NONE'
    update(container, {
      status: 'running',
      pid: 1000 + made,
      exitCode: 0,
      error: '',
      health: checked || behaviour.health ? 'starting' : 'none',
      startedAt: clock.now(),
      finishedAt: undefined,
      ports: plan.hostPorts.map(({ protocol, target, published }) => ({ protocol, target, published: published || nextPort++ })),
    })
    emit(container, 'start')
    if (behaviour.exitAfterMs !== undefined) after(container, behaviour.exitAfterMs, () => ended(container, behaviour.exitCode ?? 0))
    if (behaviour.health) after(container, behaviour.health.afterMs, () => setHealth(container, behaviour.health!.outcome))
    else if (checked) after(container, (plan.healthcheck!.intervalNs || 30e9) / 1e6, () => setHealth(container, 'healthy'))
  }

  /** An engine that comes back begins its health checks from the start. */
  const checkAnew = (container: Container) => {
    const { health, status } = container.state
    if (status !== 'running' || health === 'none') return
    update(container, { health: 'starting' })
    after(container, container.behaviour.health?.afterMs ?? (container.plan.healthcheck?.intervalNs || 30e9) / 1e6, () => {
      setHealth(container, health === 'starting' ? (container.behaviour.health?.outcome ?? 'healthy') : health)
    })
  }

  const goDown = () => {
    isDown = true
    for (const fail of [...pending]) fail(away())
    pending.clear()
  }

  return {
    info: () =>
      call(callMs, () => ({
        hostname: options.hostname ?? 'fake',
        engineVersion: '20.10.24',
        operatingSystem: 'fake',
        architecture: 'x86_64',
        nanoCpus: 4e9,
        memoryBytes: 8 * 2 ** 30,
        labels: [],
        plugins: [
          { type: 'Network', name: 'bridge' },
          { type: 'Network', name: 'overlay' },
          { type: 'Volume', name: 'local' },
          { type: 'Log', name: 'json-file' },
        ],
        genericResources: [],
        ...options.info,
      })),
    capabilities: () => call(callMs, () => ({ apiVersion: '1.41', healthchecks: true, macPerNetwork: false })),
    ensureImage: async (image, { signal, progress }) => {
      await call(callMs, () => {}, signal)
      if (!images || images.has(image)) return
      progress?.(`pulling ${image}`)
      await call(
        pullMs,
        () => {
          if (!registry.has(image)) throw new ShoalError('not-found', `No such image: ${image}`)
          images.add(image)
        },
        signal,
      )
    },
    create: (plan) =>
      call(callMs, () => {
        const behaviour = options.behaviour?.(plan) ?? {}
        if (images && !images.has(plan.image)) throw new ShoalError('not-found', `No such image: ${plan.image}`)
        if (behaviour.createError) throw new ShoalError('invalid-argument', behaviour.createError)
        if ([...all.values()].some((container) => container.state.name === plan.name)) {
          throw new ShoalError('already-exists', `the container name "/${plan.name}" is already in use`)
        }
        for (const network of plan.networks) {
          if (!networks.has(network.engineName)) throw new ShoalError('not-found', `network ${network.engineName} not found`)
        }
        made += 1
        const id = made.toString(16).padStart(64, '0')
        const container: Container = {
          plan,
          behaviour,
          state: {
            id,
            name: plan.name,
            labels: plan.labels,
            status: 'created',
            pid: 0,
            exitCode: 0,
            error: '',
            oomKilled: false,
            health: 'none',
            startedAt: undefined,
            finishedAt: undefined,
            ports: [],
          },
          timers: new Set(),
          lines: [],
          signals: [],
          files: plan.files,
          followers: new Set(),
          stopped: new Set(),
        }
        all.set(id, container)
        emit(container, 'create')
        return id
      }),
    start: async (id) => {
      const startMs = await call(callMs, () => find(id).behaviour.startMs ?? DEFAULTS.startMs)
      await call(startMs, () => begin(find(id)))
    },
    stop: async (id, { graceMs }) => {
      const container = await call(callMs, () => find(id))
      if (container.state.status !== 'running') return
      const { stopMs = DEFAULTS.stopMs, stopExitCode = DEFAULTS.stopExitCode } = container.behaviour
      after(container, Math.min(stopMs, graceMs), () => ended(container, stopMs <= graceMs ? stopExitCode : 137))
      emit(container, 'kill')
      await new Promise<void>((resolve, reject) => {
        pending.add(reject)
        container.stopped.add(() => {
          pending.delete(reject)
          resolve()
        })
      })
    },
    kill: (id, signal) =>
      call(callMs, () => {
        const container = find(id)
        if (container.state.status !== 'running') throw new ShoalError('already-exists', `container ${id} is not running`)
        if (signal !== undefined && signal !== 'SIGKILL') return void container.signals.push(signal)
        ended(container, 137)
      }),
    replaceFiles: (name, files) =>
      call(callMs, () => {
        const container = find(name)
        const same = container.files.every(({ data }, index) => Buffer.compare(data, files[index]?.data ?? data) === 0)
        container.files = container.files.map((file, index) => files[index] ?? file)
        return !same
      }),
    remove: (id) =>
      call(callMs, () => {
        const container = all.get(id)
        if (container) destroy(container)
      }),
    inspect: (id) => call(callMs, () => (all.get(id) ?? [...all.values()].find((container) => container.state.name === id))?.state),
    list: (nodeId) =>
      call(callMs, () =>
        [...all.values()].map((container) => container.state).filter((state) => state.labels['com.docker.swarm.node.id'] === nodeId),
      ),
    events: (signal) => {
      const queue = new BoundedQueue<EngineEvent>(EVENT_LIMIT)
      listeners.add(queue)
      if (!isDown) queue.push({ kind: 'reconnected' })
      const end = () => {
        listeners.delete(queue)
        queue.close()
      }
      if (signal.aborted) end()
      else signal.addEventListener('abort', end, { once: true })
      return queue
    },
    logs: (id, wanted, signal) => {
      const container = find(id)
      const wants = (line: EngineLogLine) => (line.stream === 'stdout' ? wanted.stdout : wanted.stderr)
      const past = container.lines.filter((line) => wants(line) && (wanted.since === undefined || line.at >= wanted.since))
      const queue = new BoundedQueue<EngineLogLine>(LINE_LIMIT)
      for (const line of wanted.tail === undefined ? past : past.slice(past.length - Math.min(wanted.tail, past.length))) queue.push(line)
      if (wanted.follow && container.state.status === 'running') container.followers.add(queue)
      else queue.close()
      signal.addEventListener('abort', () => queue.close(), { once: true })
      return filter(queue, wants)
    },
    ensureNetwork: (plan) => call(callMs, () => void networks.set(plan.name, plan)),
    removeNetwork: (name) =>
      call(callMs, () => {
        const user = [...all.values()].find(
          ({ state, plan }) => state.status === 'running' && plan.networks.some((n) => n.engineName === name),
        )
        if (user) throw new ShoalError('failed-precondition', `network ${name} has active endpoints`)
        networks.delete(name)
      }),
    listNetworks: (label) =>
      call(callMs, () =>
        [...networks.values()]
          .filter((plan) => {
            const [key = '', value] = label.split('=')
            return value === undefined ? key in plan.labels : plan.labels[key] === value
          })
          .map(({ name, labels }) => ({ name, id: name, labels })),
      ),
    ping: () => call(callMs, () => {}),

    containers: () => [...all.values()].map(({ state, plan, signals, files }) => ({ ...state, plan, signals, files })),
    networks: () => [...networks.values()],
    setImage: (image, present) => {
      if (present) images?.add(image)
      else images?.delete(image)
    },
    exit: (id, exitCode) => ended(find(id), exitCode),
    setHealth: (id, health) => setHealth(find(id), health),
    removeByHand: (id) => destroy(find(id)),
    print: (id, stream, text) => {
      const container = find(id)
      const at: Instant = clock.now()
      const line: EngineLogLine = { stream, at, atNs: 0, data: new TextEncoder().encode(`${text}\n`), attrs: {} }
      if (container.lines.length < LINE_LIMIT) container.lines.push(line)
      for (const queue of container.followers) queue.push(line)
    },
    down: goDown,
    up: () => {
      if (!isDown) return
      isDown = false
      for (const container of all.values()) checkAnew(container)
      for (const queue of listeners) queue.push({ kind: 'reconnected' })
    },
    powerOff: () => {
      goDown()
      for (const container of all.values()) ended(container, 137)
    },
  }
}

async function* filter<T>(items: AsyncIterable<T>, keep: (item: T) => boolean): AsyncGenerator<T> {
  for await (const item of items) if (keep(item)) yield item
}
