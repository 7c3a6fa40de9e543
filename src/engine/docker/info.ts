// GET /info as the Engine port's EngineInfo.
import type { EngineInfo } from '../../ports/index.ts'
import { array, type Json, number, object, text, texts } from './json.ts'

export function engineInfo(value: unknown): EngineInfo {
  const info = object(value)
  const plugins = object(info.Plugins)
  return {
    hostname: text(info.Name),
    engineVersion: text(info.ServerVersion),
    operatingSystem: text(info.OSType),
    architecture: text(info.Architecture),
    nanoCpus: number(info.NCPU) * 1e9,
    memoryBytes: number(info.MemTotal),
    labels: texts(info.Labels),
    plugins: (['Volume', 'Network', 'Log', 'Authorization'] as const).flatMap((type) =>
      texts(plugins[type]).map((name) => ({ type, name })),
    ),
    genericResources: array(info.GenericResources).flatMap((item) => genericResource(object(item))),
  }
}

function genericResource(item: Json): EngineInfo['genericResources'] {
  const named = object(item.NamedResourceSpec)
  if (text(named.Kind)) return [{ kind: text(named.Kind), value: text(named.Value) }]
  const discrete = object(item.DiscreteResourceSpec)
  return text(discrete.Kind) ? [{ kind: text(discrete.Kind), value: number(discrete.Value) }] : []
}
