// How the offline images are made from what Debian has: a static busybox, nginx from its package, whoami from one C file.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { ShoalError } from '../../lib/index.ts'
import { must, run } from '../process.ts'
import type { Image } from './image.ts'
import { type TarEntry, tar } from './tar.ts'

const PASSWD = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
nginx:x:101:101:nginx:/var/cache/nginx:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
`
const GROUP = `root:x:0:\ndaemon:x:1:\ntty:x:5:\ndisk:x:6:\nwww-data:x:33:\nusers:x:100:\nnginx:x:101:\nnogroup:x:65534:\n`
const BASE_DIRS = ['dev', 'etc', 'home', 'lib', 'proc', 'run', 'sbin', 'sys', 'usr', 'usr/bin', 'usr/sbin', 'var', 'var/log', 'var/cache']

/** Shell and tools, the bottom layer of all our images. */
export async function busyboxLayer(): Promise<Buffer> {
  const binary = staticBusybox()
  const applets = (await must(binary, ['--list'])).trim().split('\n')
  return tar([
    { kind: 'dir', path: 'bin' },
    ...BASE_DIRS.map((path): TarEntry => ({ kind: 'dir', path })),
    { kind: 'dir', path: 'root', mode: 0o700 },
    { kind: 'dir', path: 'tmp', mode: 0o1777 },
    { kind: 'dir', path: 'var/tmp', mode: 0o1777 },
    { kind: 'link', path: 'var/run', target: '/run' },
    { kind: 'file', path: 'etc/passwd', content: PASSWD },
    { kind: 'file', path: 'etc/group', content: GROUP },
    { kind: 'file', path: 'bin/busybox', mode: 0o755, content: readFileSync(binary) },
    ...applets
      .filter((applet) => applet !== 'busybox')
      .map((applet): TarEntry => ({ kind: 'link', path: `bin/${applet}`, target: '/bin/busybox' })),
  ])
}

export function busyboxImages(base: Buffer): Image[] {
  return [{ tags: ['busybox:latest', 'busybox:1'], layers: [base], config: { cmd: ['sh'] } }]
}

/** The image `nginx` with Debian's server and its default page, and `nginx:alpine`, whose page and X-Image header differ. */
export async function nginxImages(base: Buffer, sources: string): Promise<Image[]> {
  const work = mkdtempSync(join(tmpdir(), 'shoal-nginx-'))
  try {
    await downloadPackages(work, ['nginx', 'nginx-common'])
    const root = await unpack(work)
    const page = readFileSync(join(root, 'usr/share/nginx/html/index.html'), 'utf8')
    const version = /nginx\/([\d.]+)/.exec((await run(join(root, 'usr/sbin/nginx'), ['-v'])).stderr)?.[1] ?? '1'
    const conf = readFileSync(join(sources, 'nginx/default.conf'), 'utf8')
    const layer = tar([
      ...['etc/nginx', 'etc/nginx/conf.d', 'usr/share', 'usr/share/nginx', 'usr/share/nginx/html'].map(
        (path): TarEntry => ({ kind: 'dir', path }),
      ),
      ...['var/lib', 'var/lib/nginx', 'var/log/nginx', 'var/cache/nginx'].map((path): TarEntry => ({ kind: 'dir', path })),
      ...(await libraries(join(root, 'usr/sbin/nginx'), work)),
      { kind: 'file', path: 'usr/sbin/nginx', mode: 0o755, content: readFileSync(join(root, 'usr/sbin/nginx')) },
      { kind: 'file', path: 'etc/nginx/mime.types', content: readFileSync(join(root, 'etc/nginx/mime.types')) },
      { kind: 'file', path: 'etc/nginx/nginx.conf', content: readFileSync(join(sources, 'nginx/nginx.conf')) },
      { kind: 'file', path: 'etc/nginx/conf.d/default.conf', content: conf },
      { kind: 'file', path: 'usr/share/nginx/html/index.html', content: page },
      { kind: 'file', path: 'usr/share/nginx/html/50x.html', content: '<!DOCTYPE html><title>Error</title><h1>An error occurred.</h1>\n' },
      { kind: 'link', path: 'var/log/nginx/access.log', target: '/dev/stdout' },
      { kind: 'link', path: 'var/log/nginx/error.log', target: '/dev/stderr' },
    ])
    const second = tar([
      {
        kind: 'file',
        path: 'usr/share/nginx/html/index.html',
        content: page.replace('<h1>Welcome to nginx!</h1>', '<h1>Welcome to nginx! (image nginx:alpine)</h1>'),
      },
      { kind: 'file', path: 'etc/nginx/conf.d/default.conf', content: conf.replace('X-Image nginx:latest', 'X-Image nginx:alpine') },
    ])
    const config = { cmd: ['nginx', '-g', 'daemon off;'], env: [`NGINX_VERSION=${version}`], exposed: ['80/tcp'], stopSignal: 'SIGQUIT' }
    return [
      { tags: ['nginx:latest', `nginx:${version}`], layers: [base, layer], config },
      { tags: ['nginx:alpine'], layers: [base, layer, second], config },
    ]
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** `whoami:1` (= latest) and `:2` tell their version; `:bad` ends at once with status 1; `:sick` runs with a health check that fails. */
export async function whoamiImages(base: Buffer, sources: string): Promise<Image[]> {
  const work = mkdtempSync(join(tmpdir(), 'shoal-whoami-'))
  try {
    const binary = join(work, 'whoami')
    await must('gcc', ['-static', '-Os', '-s', '-Wall', '-o', binary, join(sources, 'whoami/whoami.c')])
    const layer = tar([{ kind: 'file', path: 'bin/whoami', mode: 0o755, content: readFileSync(binary) }])
    const image = (tags: string[], version: string, more: Partial<Image['config']> = {}): Image => ({
      tags,
      layers: [base, layer],
      config: { cmd: ['whoami'], env: [`VERSION=${version}`], exposed: ['80/tcp', '80/udp'], labels: { version }, ...more },
    })
    return [
      image(['whoami:latest', 'whoami:1'], '1'),
      image(['whoami:2'], '2'),
      image(['whoami:bad'], 'bad', { cmd: ['sh', '-c', 'echo broken; exit 1'] }),
      image(['whoami:sick'], 'sick', {
        healthcheck: { test: ['CMD', 'whoami', '-get', '80', '/nothing-here'], intervalNs: 1e9, timeoutNs: 2e9, retries: 2 },
      }),
    ]
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** The path of a statically linked busybox. */
export function staticBusybox(): string {
  const path = ['/usr/bin/busybox', '/bin/busybox'].find((candidate) => existsSync(candidate))
  if (path) return path
  throw new ShoalError('failed-precondition', 'there is no busybox on this computer', {
    next: 'Run: npm run setup (package busybox-static)',
  })
}

async function downloadPackages(into: string, packages: readonly string[]): Promise<void> {
  const download = () => run('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', ...packages], { cwd: into, timeoutMs: 120_000 })
  if ((await download()).status === 0) return
  await run('apt-get', ['-q', 'update'], { timeoutMs: 180_000 }) // a fresh system has no package lists yet
  const second = await download()
  if (second.status === 0) return
  throw new ShoalError('unavailable', `apt-get cannot download ${packages.join(', ')}: ${second.stderr.trim().slice(-500)}`)
}

/** Unpacks all packages of a folder into `root` beside them. */
async function unpack(work: string): Promise<string> {
  const root = join(work, 'root')
  for (const file of readdirSync(work)) if (file.endsWith('.deb')) await must('dpkg-deb', ['-x', join(work, file), root])
  return root
}

/** Where a library comes from when the computer has none. */
const LIBRARY_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  'libpcre2-8.so.0': ['libpcre2-8-0'],
  'libssl.so.3': ['libssl3t64', 'libssl3'],
  'libcrypto.so.3': ['libssl3t64', 'libssl3'],
  'libcrypt.so.1': ['libcrypt1'],
  'libz.so.1': ['zlib1g'],
}

/** The shared libraries of a program, at the paths where the loader looks for them. */
async function libraries(program: string, work: string): Promise<TarEntry[]> {
  const list = async () => (await must('ldd', [program], { env: { LD_LIBRARY_PATH: libraryPath(work) } })).split('\n')
  let lines = await list()
  for (const missing of lines.filter((line) => line.includes('not found')).map((line) => line.trim().split(' ')[0] ?? '')) {
    for (const name of LIBRARY_PACKAGES[missing] ?? []) {
      if ((await run('apt-get', ['-q', '-o', 'APT::Sandbox::User=root', 'download', name], { cwd: work })).status === 0) break
    }
  }
  if (lines.some((line) => line.includes('not found'))) {
    await unpack(work)
    lines = await list()
  }
  const paths = lines.flatMap((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1] ?? [])
  const entries = new Map<string, TarEntry>()
  for (const path of paths) {
    const inside = path.startsWith(work) ? `usr/lib/${basename(dirname(path))}/${basename(path)}` : path.slice(1)
    for (let dir = dirname(inside); dir !== '.'; dir = dirname(dir)) entries.set(dir, { kind: 'dir', path: dir })
    entries.set(inside, { kind: 'file', path: inside, mode: 0o755, content: readFileSync(path) })
  }
  return [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1)) // folders before what is in them
}

function libraryPath(work: string): string {
  const lib = join(work, 'root/usr/lib')
  if (!existsSync(lib)) return ''
  return readdirSync(lib)
    .filter((dir) => dir.endsWith('-linux-gnu'))
    .map((dir) => join(lib, dir))
    .join(':')
}
