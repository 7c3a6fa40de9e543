// What deploying a stack would change: pure, from what the files want and what the swarm has.
import type { Config, Network, Secret, Service, ServiceSpec } from '../../client/index.ts'
import { canonical, canonicalSpec, type Difference, differences } from './canonical.ts'
import { type FileObjectSpec, IMAGE_LABEL, type NetworkBody } from './objects.ts'

export interface Wanted {
  readonly networks: readonly NetworkBody[]
  readonly externalNetworks: readonly string[]
  readonly secrets: readonly FileObjectSpec[]
  readonly configs: readonly FileObjectSpec[]
  /** What others wait for comes first. */
  readonly services: readonly ServiceSpec[]
}

/** The objects with the stack's label, and what else the stack names. */
export interface Current {
  readonly services: readonly Service[]
  readonly networks: readonly Network[]
  readonly secrets: readonly Secret[]
  readonly configs: readonly Config[]
}

/** Ids by name, of everything that services refer to. Names without an id are going to be created. */
export interface Ids {
  readonly networks: ReadonlyMap<string, string>
  readonly secrets: ReadonlyMap<string, string>
  readonly configs: ReadonlyMap<string, string>
}

export type ResolveImage = 'always' | 'changed' | 'never'

/** Puts ids in the place of names, and takes over from the running service what a deployment leaves alone. */
export function resolvedSpec(wanted: ServiceSpec, ids: Ids, current: ServiceSpec | undefined, keepImage: boolean): ServiceSpec {
  const { ContainerSpec: container, ...task } = wanted.TaskTemplate
  const before = current?.TaskTemplate
  const isKept = keepImage && before !== undefined
  const credential = container?.Privileges?.CredentialSpec
  return {
    ...wanted,
    TaskTemplate: {
      ...task,
      ForceUpdate: before?.ForceUpdate ?? 0,
      Networks: wanted.TaskTemplate.Networks?.map((network) => ({
        ...network,
        Target: ids.networks.get(network.Target ?? '') ?? network.Target,
      })),
      Placement: {
        ...task.Placement,
        // The platforms were found together with the digest of the image.
        ...(isKept && !task.Placement?.Platforms && before.Placement?.Platforms ? { Platforms: before.Placement.Platforms } : {}),
      },
      ContainerSpec: {
        ...container,
        ...(isKept ? { Image: before.ContainerSpec?.Image } : {}),
        Secrets: container?.Secrets?.map((reference) => ({ ...reference, SecretID: ids.secrets.get(reference.SecretName) ?? '' })),
        Configs: container?.Configs?.map((reference) => ({ ...reference, ConfigID: ids.configs.get(reference.ConfigName) ?? '' })),
        ...(credential?.Config
          ? {
              Privileges: { ...container?.Privileges, CredentialSpec: { ...credential, Config: ids.configs.get(credential.Config) ?? '' } },
            }
          : {}),
      },
    },
  }
}

/** Is the image, as the file names it, the one that runs? */
export function sameImage(wanted: ServiceSpec, current: ServiceSpec): boolean {
  return wanted.Labels?.[IMAGE_LABEL] === current.Labels?.[IMAGE_LABEL]
}

export function serviceDifferences(current: ServiceSpec, wanted: ServiceSpec): Difference[] {
  return differences(canonicalSpec(current), canonicalSpec(wanted))
}

/** What of a network cannot be changed while it exists. Subnets that the swarm chose itself are not compared. */
export function networkDifferences(current: Network, wanted: NetworkBody): Difference[] {
  const given = { ...wanted, Labels: undefined, IPAM: undefined, EnableIPv4: undefined }
  const options = (current.Options ?? {}) as Record<string, string>
  const named = Object.fromEntries(Object.entries(options).filter(([name]) => name in (wanted.Options ?? {})))
  const { Name, Driver, Internal, Attachable, EnableIPv6 } = current
  const subnets = (network: Network | NetworkBody): Record<string, unknown>[] =>
    ((network.IPAM as { Config?: Record<string, unknown>[] } | undefined)?.Config ?? []).map(({ Subnet, IPRange, Gateway }) => ({
      Subnet,
      IPRange,
      Gateway,
    }))
  // A network that has no addresses yet shows no subnets.
  const wantedSubnets = subnets(current).length > 0 ? subnets(wanted) : []
  const currentSubnets = subnets(current).map((config, i) =>
    Object.fromEntries(Object.entries(config).filter(([key]) => wantedSubnets[i]?.[key] !== undefined)),
  )
  return differences(
    canonical({
      Name,
      Driver,
      Internal,
      Attachable,
      EnableIPv6,
      Options: named,
      ...(wantedSubnets.length > 0 ? { Subnets: currentSubnets } : {}),
    }) ?? {},
    canonical({ ...given, ...(wantedSubnets.length > 0 ? { Subnets: wantedSubnets } : {}) }) ?? {},
  )
}

/** Labels of a secret or config, and what a config holds; what a secret holds is never told. */
export function fileObjectDifferences(current: Secret | Config, wanted: FileObjectSpec): Difference[] {
  const comparable = (spec: { Labels?: Record<string, string>; Data?: string }, withData: boolean) => ({
    Labels: spec.Labels,
    ...(withData ? { Data: spec.Data ?? '' } : {}),
  })
  const withData = current.Spec.Data !== undefined
  return differences(canonical(comparable(current.Spec, withData)) ?? {}, canonical(comparable(wanted, withData)) ?? {})
}

/** Services so that dependencies come before what waits for them; the order of names otherwise. */
export function inDependencyOrder<T>(services: ReadonlyMap<string, T>, dependenciesOf: (service: T) => Iterable<string>): [string, T][] {
  const ordered = new Map<string, T>()
  const add = (name: string, trail: ReadonlySet<string>): void => {
    const service = services.get(name)
    if (service === undefined || ordered.has(name) || trail.has(name)) return
    const inner = new Set(trail).add(name)
    for (const dependency of dependenciesOf(service)) add(dependency, inner)
    ordered.set(name, service)
  }
  for (const name of [...services.keys()].sort()) add(name, new Set())
  return [...ordered]
}
