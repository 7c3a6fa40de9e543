// The Go template subset of SwarmKit: placeholders in env, hostname, mounts; functions; errors.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isShoalError, type NodeId, type ServiceId, type TaskId } from '../../src/lib/index.ts'
import { type AssignedTask, expandContainer, expandPayload, runTemplate, TaskState, templateContext } from '../../src/model/index.ts'

const task: AssignedTask = {
  id: 't1' as TaskId,
  serviceId: 's1' as ServiceId,
  serviceName: 'web',
  serviceLabels: { 'com.x': 'y', tier: 'front' },
  slot: 3,
  nodeId: 'n1' as NodeId,
  specVersion: 1,
  spec: { forceUpdate: 0 },
  desiredState: TaskState.RUNNING,
  knownState: TaskState.ASSIGNED,
  attachments: [],
  ports: [],
  genericResources: [],
}
const context = templateContext(task, { hostname: 'mgr1', os: 'linux', architecture: 'x86_64' })
const run = (text: string) => runTemplate(text, context)

describe('templates', () => {
  it('fill in service, node and task', () => {
    assert.equal(run('{{.Service.Name}}-{{.Task.Slot}}'), 'web-3')
    assert.equal(run('{{ .Service.ID }}/{{.Node.ID}}/{{.Node.Hostname}}'), 's1/n1/mgr1')
    assert.equal(run('{{.Task.Name}} {{.Task.ID}}'), 'web.3.t1 t1')
    assert.equal(run('{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}'), 'linux/x86_64')
  })

  it('name the node where a global service has no slot', () => {
    const global = templateContext({ ...task, slot: 0 }, { hostname: 'h', os: 'linux', architecture: 'x' })
    assert.equal(runTemplate('{{.Task.Slot}} {{.Task.Name}}', global), 'n1 web.n1.t1')
  })

  it('know index, join, upper, lower, printf, pipes and parentheses', () => {
    assert.equal(run('{{index .Service.Labels "com.x"}}'), 'y')
    assert.equal(run('{{index .Service.Labels "none"}}'), '')
    assert.equal(run('{{join "-" .Service.Name .Task.Slot}}'), 'web-3')
    assert.equal(run('{{.Service.Name | upper}} {{lower "ABC"}}'), 'WEB abc')
    assert.equal(run('{{printf "%s:%05d %q%%" .Service.Name 42 "a"}}'), 'web:00042 "a"%')
    assert.equal(run('{{(index .Service.Labels "tier") | printf "%s-%s" .Service.Name}}'), 'web-front')
  })

  it('know if, with, range, else and trim marks', () => {
    assert.equal(run('{{if eq .Service.Name "web"}}a{{else}}b{{end}}'), 'a')
    assert.equal(run('{{if eq .Service.Name "x"}}a{{else if .Task.ID}}b{{else}}c{{end}}'), 'b')
    assert.equal(run('{{range .Service.Labels}}<{{.}}>{{end}}'), '<y><front>')
    assert.equal(run('{{with .Node}}{{.Hostname}} {{$.Service.Name}}{{end}}'), 'mgr1 web')
    assert.equal(run('a  {{- " b " -}}  c{{/* comment }} */}}'), 'a b c')
  })

  it('leave text without placeholders alone', () => {
    assert.equal(run('plain } { text'), 'plain } { text')
  })

  it('refuse what cannot be read or run, in the words of Go', () => {
    const text = (source: string) => {
      try {
        run(source)
      } catch (error) {
        assert(isShoalError(error, 'invalid-argument'))
        return error.message
      }
      assert.fail(`${source} was taken`)
    }
    assert.match(text('{{.Service.Name'), /^template: expansion:1: unclosed action/)
    assert.match(text('{{.Nope}}'), /executing "expansion" at <.Nope>: map has no entry for key "Nope"/)
    assert.match(text('{{nope}}'), /function "nope" not defined/)
    assert.match(text('{{if true}}'), /unexpected EOF/)
    assert.match(text('{{end}}'), /unexpected {{end}}/)
    assert.match(text('{{.constructor}}'), /no entry/)
    assert.match(text('{{index .Service "__proto__" "x"}}'), /./)
  })

  it('never fail with anything but a refusal, whatever the text', () => {
    const part = fc.oneof(
      fc.string({ maxLength: 6 }),
      fc.constantFrom(
        '{{',
        '}}',
        '{{-',
        '-}}',
        '.Service',
        '.Name',
        'index ',
        'printf "%s" ',
        '(',
        ')',
        '|',
        'if ',
        'end',
        'range ',
        '"',
        '`',
        '/*',
      ),
    )
    fc.assert(
      fc.property(fc.array(part, { maxLength: 14 }), (parts) => {
        try {
          assert.equal(typeof run(parts.join('')), 'string')
        } catch (error) {
          assert(isShoalError(error, 'invalid-argument'), String(error))
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('a container spec', () => {
  it('gets env, hostname and mounts expanded, and nothing else', () => {
    const spec = expandContainer(
      {
        image: '{{.Service.Name}}',
        env: ['A={{.Service.Name}}', 'B=b'],
        hostname: '{{.Node.Hostname}}-{{.Task.Slot}}',
        mounts: [{ type: 'volume', source: 'v-{{.Task.Slot}}', target: '/{{.Service.Name}}', volume: { labels: { l: '{{.Task.ID}}' } } }],
      },
      context,
    )
    assert.equal(spec.image, '{{.Service.Name}}')
    assert.deepEqual(spec.env, ['A=web', 'B=b'])
    assert.equal(spec.hostname, 'mgr1-3')
    assert.equal(spec.mounts?.[0]?.source, 'v-3')
    assert.equal(spec.mounts?.[0]?.target, '/web')
    assert.deepEqual(spec.mounts?.[0]?.volume?.labels, { l: 't1' })
  })

  it('says which of its fields is wrong', () => {
    assert.throws(
      () => expandContainer({ image: 'x', env: ['A={{.X}}'] }, context),
      /^ShoalError: expanding env failed: expanding "A={{.X}}": template/,
    )
    assert.throws(() => expandContainer({ image: 'x', hostname: '{{' }, context), /expanding hostname failed: template/)
  })
})

describe('a templated config', () => {
  const sources = {
    env: ['X=y'],
    secret: (target: string) => (target === 's1' ? 'top-secret' : undefined),
    config: () => undefined,
  }
  const expand = (text: string) => new TextDecoder().decode(expandPayload(new TextEncoder().encode(text), context, sources))

  it('reads env, secrets and configs of its own container', () => {
    assert.equal(
      expand('svc={{.Service.Name}} slot={{.Task.Slot}} env={{env "X"}} none={{env "N"}} sec={{secret "s1"}}'),
      'svc=web slot=3 env=y none= sec=top-secret',
    )
  })

  it('refuses what the container does not reference', () => {
    assert.throws(() => expand('{{secret "other"}}'), /error calling secret: secret target other not found/)
  })
})
