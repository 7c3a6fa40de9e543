// Short forms and their long ones, and what is said about fields that are wrong or that a swarm cannot do.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { problemsOf, serviceOf } from './support.ts'

const rest = 'volumes: {data: {}}\nnetworks: {n: {}}\nsecrets: {s: {file: f}}\nconfigs: {c: {content: x}}'
const web = (fields: string) => `services:\n  web:\n    image: a\n    ${fields}\n${rest}\n`

describe('short forms', () => {
  const cases: [written: string, field: string, expected: unknown][] = [
    [`command: "echo 'a b' c\\\\ d"`, 'command', ['echo', 'a b', 'c d']],
    ['command: []', 'command', []],
    ['entrypoint: /run.sh -v', 'entrypoint', ['/run.sh', '-v']],
    ['healthcheck: {test: curl -f x}', 'healthcheck', { test: ['CMD-SHELL', 'curl -f x'] }],
    [
      'ports: ["127.0.0.1:8080:80/udp"]',
      'ports',
      [{ target: 80, published: 8080, protocol: 'udp', mode: 'ingress', host_ip: '127.0.0.1' }],
    ],
    ['ports: ["[::1]:8080:80"]', 'ports', [{ target: 80, published: 8080, protocol: 'tcp', mode: 'ingress', host_ip: '::1' }]],
    [
      'ports: ["8000-8001:80"]',
      'ports',
      [
        { target: 80, published: 8000, protocol: 'tcp', mode: 'ingress' },
        { target: 80, published: 8001, protocol: 'tcp', mode: 'ingress' },
      ],
    ],
    ['ports: [{target: "80", published: "81"}]', 'ports', [{ target: 80, published: 81 }]],
    ['volumes: ["./x:/y:z"]', 'volumes', [{ type: 'bind', source: '/p/x', target: '/y', bind: { selinux: 'z' } }]],
    ['volumes: ["data:/y:rw,nocopy"]', 'volumes', [{ type: 'volume', source: 'data', target: '/y', volume: { nocopy: true } }]],
    ['volumes: [{type: bind, source: x, target: /y}]', 'volumes', [{ type: 'bind', source: '/p/x', target: '/y' }]],
    ['ulimits: {nofile: 5, nproc: {soft: 1, hard: 2}}', 'ulimits', { nofile: { soft: 5, hard: 5 }, nproc: { soft: 1, hard: 2 } }],
    ['extra_hosts: {a: 10.0.0.1, b: [10.0.0.2, "::2"]}', 'extra_hosts', ['a=10.0.0.1', 'b=10.0.0.2', 'b=::2']],
    ['extra_hosts: ["a=[::1]"]', 'extra_hosts', ['a=::1']],
    ['tmpfs: /run', 'tmpfs', ['/run']],
    ['labels: [a=b=c, d]', 'labels', { a: 'b=c', d: '' }],
    ['secrets: [{source: s, mode: "0400"}]', 'secrets', [{ source: 's', mode: 0o400 }]],
    ['configs: [c]', 'configs', [{ source: 'c' }]],
    ['depends_on: {web2: {condition: service_healthy, required: false}}', 'depends_on', {}],
    ['expose: [80, "90"]', 'expose', ['80', '90']],
    ['profiles: ', 'profiles', undefined],
  ]
  for (const [written, field, expected] of cases) {
    test(written, async () => assert.deepEqual((await serviceOf(web(written)))[field], expected))
  }
})

describe('errors with line, column, name and advice', () => {
  const cases: [written: string, expected: string | RegExp][] = [
    ['ports: [abc]', /^c\.yaml:4:13: services\.web\.ports\[0\]: "abc" is no port\. Write it like "8080:80"/],
    ['ports: ["70000:80"]', /has a port that is none/],
    ['ports: ["80-82:80-81"]', /differ in length/],
    ['ports: [{published: 80}]', 'c.yaml:4:13: services.web.ports[0]: target is missing'],
    ['volumes: [""]', /is no volume/],
    ['volumes: ["a:b:c:d"]', /is no volume/],
    ['volumes: ["data:/x:bad"]', /"bad" is no option of a volume/],
    ['volumes: ["nowhere:/x"]', 'c.yaml:4:15: services.web.volumes[0]: there is no volume nowhere. Add nowhere: under volumes:'],
    ['volumes: [{type: tmpfs, target: /t, bind: {propagation: shared}}]', /a volume of type tmpfs has no bind options/],
    ['networks: [nowhere]', 'c.yaml:4:16: services.web.networks.nowhere: there is no such network. Add nowhere: under networks:'],
    ['secrets: [nowhere]', /services\.web\.secrets\[0\]: there is no secret nowhere/],
    ['configs: [nowhere]', /services\.web\.configs\[0\]: there is no config nowhere/],
    ['depends_on: [nobody]', 'c.yaml:4:18: services.web.depends_on.nobody: there is no such service'],
    ['depends_on: [web]', /the services wait for each other: web > web/],
    [
      'stop_grace_period: 10',
      'c.yaml:4:24: services.web.stop_grace_period: must be a text with a unit, not the number 10. Write 10s for seconds',
    ],
    ['stop_grace_period: soon', /"soon" is no duration/],
    ['mem_limit: lots', /"lots" is no size/],
    ['read_only: perhaps', 'c.yaml:4:16: services.web.read_only: must be true or false, not "perhaps"'],
    ['deploy: {replicas: -1}', /must be a whole number of at least 0, not the number -1/],
    ['deploy: {mode: many}', /must be one of replicated, global, replicated-job, global-job, not "many"/],
    ['deploy: {mode: global, replicas: 2}', /a global service has one task on each node/],
    ['deploy: {mode: replicated-job, update_config: {delay: 1s}}', /jobs are not updated in steps/],
    [
      'deploy: {update_config: {paralelism: 1}}',
      /c\.yaml:4:30: services\.web\.deploy\.update_config\.paralelism: there is no such field\. Did you mean parallelism\?/,
    ],
    ['environment: hello', 'c.yaml:4:18: services.web.environment: must be a mapping or a list, not "hello"'],
    ['hostname: 5', 'c.yaml:4:15: services.web.hostname: must be a text, not the number 5. Put it into quotes'],
    ['healthcheck: {test: [curl]}', /the first word must be NONE, CMD or CMD-SHELL/],
    [`command: "echo 'x"`, /the quote ' is never closed/],
    ['extra_hosts: [db]', /this is no host with an address/],
    ['extra_hosts: ["db:host-gateway"]', /another address on each node/],
    ['secrets: [{source: s, mode: 99999}]', /must be a file mode such as 0440/],
    ['network_mode: "service:db"', /cannot work in a swarm/],
    ['network_mode: host\n    networks: [n]', /does not go together with networks/],
    ['cpu_shares: 5', 'c.yaml:4:5: services.web.cpu_shares: a swarm has no such limit. Use deploy.resources.limits.cpus'],
    ['volumes_from: [db]', /cannot share the volumes of a container/],
    ['mem_limit: 5m\n    deploy: {resources: {limits: {memory: 6m}}}', /says something else than deploy\.resources\.limits\.memory/],
    ['tmpfs: run', /must be an absolute path/],
  ]
  for (const [written, expected] of cases) {
    test(written, async () => {
      const problems = await problemsOf(web(written))
      if (typeof expected === 'string') assert.equal(problems[0], expected)
      else assert.match(problems[0] ?? '', expected)
    })
  }

  test('a service without an image, a secret without content, an external network with options', async () => {
    assert.match(
      (await problemsOf('services: {web: {build: .}}'))[0] ?? '',
      /^c\.yaml:1:17: services\.web: image is missing\. A swarm does not build/,
    )
    assert.match(
      (await problemsOf('services: {web: {image: a}}\nsecrets: {s: {}}'))[0] ?? '',
      /^c\.yaml:2:11: secrets\.s: has no content\. Give one of file/,
    )
    assert.match(
      (await problemsOf('services: {web: {image: a}}\nconfigs: {s: {file: a, content: b}}'))[0] ?? '',
      /has content from file and content/,
    )
    assert.match(
      (await problemsOf('services: {web: {image: a}}\nnetworks: {n: {external: true, driver: x}}'))[0] ?? '',
      /is external and has driver/,
    )
    assert.match((await problemsOf('version: "2"\nservices: {web: {image: a}}'))[0] ?? '', /files of version 2 are not for swarms/)
    assert.match((await problemsOf('web: {image: a}'))[0] ?? '', /^c\.yaml:1:1: web: there is no such field/)
  })
})

describe('what a swarm ignores is told by name and line', () => {
  const ignored = [
    'annotations: {a: b}',
    'attach: true',
    'build: .',
    'cgroup: host',
    'cgroup_parent: x',
    'container_name: x',
    'develop: {}',
    'devices: [/dev/x]',
    'domainname: x',
    'expose: [80]',
    'external_links: [x]',
    'gpus: all',
    'ipc: host',
    'links: [x]',
    'mac_address: x',
    'mem_swappiness: 5',
    'oom_kill_disable: true',
    'pid: host',
    'post_start: []',
    'pre_stop: []',
    'privileged: true',
    'pull_policy: always',
    'runtime: x',
    'security_opt: ["seccomp:x"]',
    'storage_opt: {}',
    'use_api_socket: true',
    'userns_mode: host',
    'uts: host',
    'blkio_config: {}',
    'device_cgroup_rules: [x]',
    'networks: {n: {ipv4_address: 10.0.0.1}}',
    'ports: ["127.0.0.1:80:80"]',
    'volumes: ["/a:/b:z"]',
    'deploy: {resources: {reservations: {devices: []}}}',
  ]
  for (const written of ignored) {
    test(written, async () => {
      const problems = await problemsOf(web(written))
      assert.equal(problems.length, 1, problems.join('\n'))
      assert.match(problems[0] ?? '', /^c\.yaml:4:\d+: services\.web\.\S+: .*ignored/)
    })
  }
})
