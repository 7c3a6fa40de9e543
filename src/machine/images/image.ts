// A container image in memory, and its two forms on disk: the archive of `docker save` and the storage folder of docker-registry.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type TarEntry, tar } from './tar.ts'

export interface ImageConfig {
  readonly cmd?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly env?: readonly string[]
  readonly labels?: Readonly<Record<string, string>>
  readonly exposed?: readonly string[]
  readonly stopSignal?: string
  readonly healthcheck?: {
    readonly test: readonly string[]
    readonly intervalNs: number
    readonly timeoutNs: number
    readonly retries: number
  }
}

export interface Image {
  /** `name:tag`, the first one is the image's main name. */
  readonly tags: readonly string[]
  /** Layers are shared between images by identity. */
  readonly layers: readonly Buffer[]
  readonly config: ImageConfig
}

const CREATED = '2025-01-01T00:00:00Z'
const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** An archive for `docker load`. */
export function saveArchive(images: readonly Image[]): Buffer {
  const entries = new Map<string, TarEntry>()
  const manifest = images.map((image) => {
    const layers = image.layers.map((layer) => {
      const path = `${sha256(layer)}/layer.tar`
      entries.set(path, { kind: 'file', path, content: layer })
      return path
    })
    const config = configJson(image)
    const path = `${sha256(config)}.json`
    entries.set(path, { kind: 'file', path, content: config })
    return { Config: path, RepoTags: image.tags, Layers: layers }
  })
  return tar([...entries.values(), { kind: 'file', path: 'manifest.json', content: JSON.stringify(manifest) }])
}

/** Writes the images as docker-registry's filesystem storage (below `root`), as `library/NAME`, the place where a mirror of Docker Hub looks. */
export function writeRegistryStorage(root: string, images: readonly Image[]): void {
  const base = join(root, 'docker/registry/v2')
  const blob = (content: Buffer): { digest: string; size: number } => {
    const hex = sha256(content)
    write(join(base, 'blobs/sha256', hex.slice(0, 2), hex, 'data'), content)
    return { digest: `sha256:${hex}`, size: content.length }
  }
  const packed = new Map<Buffer, { digest: string; size: number }>()
  for (const image of images) {
    for (const layer of image.layers) if (!packed.has(layer)) packed.set(layer, blob(gzipSync(layer, { level: 1 })))
    const layers = image.layers.map((layer) => ({ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', ...packed.get(layer)! }))
    const config = blob(configJson(image))
    const manifest = blob(
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
          config: { mediaType: 'application/vnd.docker.container.image.v1+json', ...config },
          layers,
        }),
      ),
    )
    for (const name of image.tags) {
      const [repository = '', tag = 'latest'] = name.split(':')
      const repo = join(base, 'repositories/library', repository)
      const link = (path: string, digest: string) => write(join(repo, path, 'link'), digest)
      for (const { digest } of [...layers, config]) link(`_layers/sha256/${digest.slice(7)}`, digest)
      link(`_manifests/revisions/sha256/${manifest.digest.slice(7)}`, manifest.digest)
      link(`_manifests/tags/${tag}/current`, manifest.digest)
      link(`_manifests/tags/${tag}/index/sha256/${manifest.digest.slice(7)}`, manifest.digest)
    }
  }
}

function configJson(image: Image): Buffer {
  const { config } = image
  const health = config.healthcheck
  return Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      created: CREATED,
      config: {
        Env: [PATH, ...(config.env ?? [])],
        Cmd: config.cmd,
        Entrypoint: config.entrypoint,
        Labels: config.labels,
        ExposedPorts: config.exposed && Object.fromEntries(config.exposed.map((port) => [port, {}])),
        StopSignal: config.stopSignal,
        Healthcheck: health && { Test: health.test, Interval: health.intervalNs, Timeout: health.timeoutNs, Retries: health.retries },
      },
      rootfs: { type: 'layers', diff_ids: image.layers.map((layer) => `sha256:${sha256(layer)}`) },
      history: image.layers.map(() => ({ created: CREATED, created_by: 'shoal images' })),
    }),
  )
}

function write(path: string, content: Buffer | string): void {
  if (existsSync(path)) return
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
}

export function sha256(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('hex')
}
