// A Docker Engine for second-ring tests: in a network and mount namespace of its own, names that fail to resolve at once, nothing left behind.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface TestDockerd {
  readonly host: string
  readonly folder: string
  /** kill -9; containers go on under live-restore. */
  kill(): Promise<void>
  start(): Promise<void>
  docker(...args: string[]): Promise<string>
  /** Removes containers, engine, namespaces and data. */
  close(): Promise<void>
}

export async function startDockerd(name: string): Promise<TestDockerd> {
  const folder = await mkdtemp(`/tmp/agent-${name}-`)
  await writeFile(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\n')
  const images = join(folder, 'images.tar')
  await run('/work/shared/conformance/make-images.sh', [images])
  const hold = `ip link set lo up; mount --bind ${folder}/resolv.conf "$(readlink -f /etc/resolv.conf)"; echo ready; exec sleep 100000`
  const holder = spawn('unshare', ['--net', '--mount', '--uts', '--propagation', 'private', 'sh', '-c', hold], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise((resolve) => holder.stdout.once('data', resolve))
  const log = await open(`${folder}/dockerd.log`, 'a')
  const host = `unix://${folder}/docker.sock`
  let daemon: ChildProcess | undefined

  const docker = async (...args: string[]) => (await run('docker', ['-H', host, ...args], { maxBuffer: 64 << 20 })).stdout

  const start = async () => {
    // where nobody reaps orphans, the containerd of a killed dockerd stays a zombie, and dockerd would wait for it
    await rm(`${folder}/exec/containerd/containerd.pid`, { force: true })
    const args = [
      '--data-root',
      `${folder}/data`,
      '--exec-root',
      `${folder}/exec`,
      '--pidfile',
      `${folder}/pid`,
      '-H',
      host,
      '--live-restore',
    ]
    daemon = spawn('nsenter', ['-t', String(holder.pid), '--net', '--mount', '--uts', '--', 'dockerd', ...args], {
      stdio: ['ignore', log.fd, log.fd],
    })
    for (let tries = 0; tries < 150; tries += 1) {
      if (
        await docker('version').then(
          () => true,
          () => false,
        )
      )
        return
      await sleep(200)
    }
    throw new Error('dockerd did not start')
  }

  const end = async (signal: 'SIGKILL' | 'SIGTERM') => {
    if (!daemon) return
    const gone = new Promise((resolve) => daemon?.once('exit', resolve))
    process.kill(Number(await readFile(`${folder}/pid`, 'utf8')), signal)
    await gone
    daemon = undefined
  }

  await start()
  await docker('load', '-q', '-i', images)
  await rm(images)
  return {
    host,
    folder,
    docker,
    start,
    kill: () => end('SIGKILL'),
    async close() {
      try {
        const ids = (await docker('ps', '-aq')).split('\n').filter((id) => id !== '')
        if (ids.length > 0) await docker('rm', '-f', '-v', ...ids)
      } finally {
        await end('SIGTERM').catch(() => {}) // it may have failed to start
        await log.close()
        for (const pid of await shims(folder)) await killTree(pid)
      }
      holder.kill('SIGKILL')
      await sleep(200)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Shims of this engine that have outlived it. */
async function shims(folder: string): Promise<readonly number[]> {
  const found: number[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const text = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')
    if (text.includes('containerd') && text.includes(`${folder}/`)) found.push(Number(name))
  }
  return found
}

async function killTree(pid: number): Promise<void> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  for (const child of children.split(' ').filter((text) => text.trim() !== '')) await killTree(Number(child))
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // it is gone
  }
}
