// Records what docker stack deploy (docker CLI 28) makes of files/both.yaml, for stack.test.ts. Run it by hand: node test/cli/stack/record.ts [docker].
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { run } from '../../e2e/cluster.ts'
import { dumpStack, FILES, startStackApi, TEST_ENVIRONMENT } from './support.ts'

const docker = process.argv[2] ?? '/usr/local/bin/docker'
const api = await startStackApi()
try {
  const { code, stdout, stderr } = await run(
    docker,
    ['stack', 'deploy', '--resolve-image', 'never', '-c', path.join(FILES, 'both.yaml'), 'st'],
    {
      env: { ...TEST_ENVIRONMENT, DOCKER_HOST: `unix://${api.socket}` },
    },
  )
  console.log(stdout, stderr)
  if (code !== 0) process.exit(1)
  await writeFile(path.join(FILES, 'docker.json'), `${JSON.stringify(await dumpStack(api), undefined, 1)}\n`)
} finally {
  await api.close()
}
