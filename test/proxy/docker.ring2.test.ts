// Real docker CLIs through our socket to a real engine: what they do with containers must not notice that we stand between.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { type Harness, startApi } from '../api/harness.ts'
import { startDockerd, type TestDockerd } from '../engine/dockerd.ts'

const CLIS = ['/usr/bin/docker', '/usr/local/bin/docker'].filter(existsSync)
const LIMIT_MS = 30_000

let engine: TestDockerd
let h: Harness

interface Result {
  readonly code: number
  readonly out: string
}

/** Runs a CLI against our socket; `input` is its standard input, then closed. */
function run(command: string, args: readonly string[], input = ''): Promise<Result> {
  return new Promise((resolve) => {
    const env = { ...process.env, DOCKER_HOST: `unix://${h.socket}`, DOCKER_CONFIG: '/nonexistent', DOCKER_BUILDKIT: '0' }
    const child = execFile(command, args, { env, timeout: LIMIT_MS, maxBuffer: 64 << 20 }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, out: stdout + stderr }),
    )
    child.stdin?.end(input)
  })
}

before(async () => {
  engine = await startDockerd('api')
  h = await startApi({ deps: { engineSocket: engine.host.replace('unix://', '') } })
  h.place = 'inactive'
})
after(async () => {
  await h?.close()
  await engine?.close()
})

for (const cli of CLIS) {
  describe(`with ${cli}`, () => {
    const docker = (args: string, input?: string) => run(cli, args.split(' '), input)

    test('run hands output, errors and exit codes on', async () => {
      const { code, out } = await run(cli, ['run', '--rm', 'busybox', 'sh', '-c', 'echo out; echo err >&2; exit 3'])
      assert.deepEqual([code, out.includes('out\n'), out.includes('err\n')], [3, true, true])
    })

    test('standard input goes in, and its end is noticed', async () => {
      const big = 'x'.repeat(2_000_000)
      assert.equal((await docker('run --rm -i busybox wc -c', big)).out.trim(), '2000000')
    })

    test('run -it works on a terminal', async () => {
      const { out } = await run(
        'script',
        ['-qec', `${cli} run --rm -it busybox sh -c 'tty; stty size; read x; echo got $x'`, '/dev/null'],
        'hello\n',
      )
      assert.match(out, /\/dev\/(pts\/|console)/)
      assert.match(out, /got hello/)
    })

    test('exec, attach, logs -f, cp, stop and events work on a running container', async () => {
      const events = spawn(cli, ['events', '--format', '{{.Type}} {{.Action}}'], {
        env: { ...process.env, DOCKER_HOST: `unix://${h.socket}` },
      })
      let seen = ''
      events.stdout.on('data', (chunk) => {
        seen += chunk
      })
      await new Promise((resolve) => setTimeout(resolve, 500))
      await run(cli, [
        'run',
        '-d',
        '-i',
        '--name',
        'api-c',
        'busybox',
        'sh',
        '-c',
        'while read l && [ $l != end ]; do echo "line $l"; done; echo over',
      ])
      assert.equal((await docker('exec api-c echo inside')).out, 'inside\n')
      assert.equal((await docker('exec -i api-c cat', 'through')).out, 'through')
      assert.equal((await docker('exec api-c sh -c false')).code, 1)
      const follow = docker('logs -f api-c')
      // What attach itself prints is a race of the engine's own: the container is over before the CLI reads.
      assert.equal((await docker('attach api-c', 'one\ntwo\nend\n')).code, 0)
      assert.match((await follow).out, /line one\nline two\nover\n/)
      assert.equal((await docker('wait api-c')).out, '0\n')
      assert.equal((await docker('start api-c')).code, 0)
      assert.equal((await docker('cp api-c:/etc/passwd -')).code, 0)
      assert.equal((await docker('stats --no-stream api-c')).code, 0)
      assert.equal((await docker('top api-c')).code, 0)
      assert.equal((await docker('stop -t 0 api-c')).code, 0)
      assert.equal((await docker('rm api-c')).code, 0)
      events.kill()
      for (const action of ['container create', 'container attach', 'container start', 'container die', 'container destroy'])
        assert.ok(seen.includes(action), `${action} in ${seen}`)
    })

    test('images are saved, loaded and built through us', async () => {
      const context = 'FROM busybox\nRUN echo built > /f\n'
      const built = await docker('build -q -t api-built -', context)
      assert.equal(built.code, 0, built.out)
      assert.equal((await docker('run --rm api-built cat /f')).out, 'built\n')
      const saved = await run('sh', ['-c', `${cli} save api-built | ${cli} load`])
      assert.match(saved.out, /Loaded image/)
      assert.equal((await docker('rmi -f api-built')).code, 0)
    })

    test('info, version, df, networks and volumes show the engine’s with our additions', async () => {
      assert.match((await docker('info')).out, /Swarm: inactive/)
      assert.match((await docker('version')).out, /Shoal:\n\s+Version:\s+0\.1\.0/)
      assert.equal((await docker('system df')).code, 0)
      assert.match((await docker('network ls')).out, /bridge\s+bridge\s+local/)
      assert.equal((await docker('network create api-n')).code, 0)
      assert.equal((await docker('run --rm --network api-n busybox true')).code, 0)
      assert.equal((await docker('network rm api-n')).code, 0)
      assert.match((await docker('network inspect nosuch')).out, /(network nosuch not found|No such network: nosuch)/)
      assert.match((await docker('swarm leave')).out, /This node is not part of a swarm/)
      assert.match((await docker('node ls')).out, /This node is not a swarm manager\. Use "docker swarm init"/)
      assert.equal((await docker('volume create api-v')).code, 0)
      assert.equal((await docker('volume rm api-v')).code, 0)
    })
  })
}

test('a container that mounts the engine’s socket gets ours', async () => {
  const { out } = await run(CLIS[0]!, ['create', '-v', '/var/run/docker.sock:/var/run/docker.sock', 'busybox'])
  const { out: text } = await run(CLIS[0]!, ['inspect', out.trim()])
  assert.deepEqual(JSON.parse(text)[0].HostConfig.Binds, [`${h.socket}:/var/run/docker.sock`])
})
