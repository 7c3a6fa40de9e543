// New content of secrets and configs in running containers.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { TaskState as S } from '../../src/model/index.ts'
import type { AssignmentChange } from '../../src/wire/index.ts'
import { createWorld, secret, task } from './support.ts'

const uses = { secrets: [{ secretId: 'pw' as never, secretName: 'pw', file: { name: 'pw', uid: '0', gid: '0', mode: 0o444 } }] }

function content(data: string, policy: string, signal?: string): AssignmentChange {
  const change = secret('pw', data)
  assert.ok(change.action === 'update' && change.kind === 'secret')
  const labels = { 'shoal.update.policy': policy, ...(signal ? { 'shoal.update.signal': signal } : {}) }
  return { ...change, secret: { ...change.secret, labels } }
}

describe('new content', () => {
  it('with the policy signal replaces the files of running containers, which get the signal once', async () => {
    const { manager, engine, clock, until } = await createWorld()
    manager.send(content('old', 'signal', 'SIGUSR1'))
    manager.run(task('t1', S.RUNNING, uses))
    manager.run(task('t2', S.RUNNING))
    await until(() => manager.last('t1')?.state === S.RUNNING && manager.last('t2')?.state === S.RUNNING)
    manager.send(content('new', 'signal', 'SIGUSR1'))
    const [first, second] = ['web.1.t1', 'web.1.t2'].map((name) => () => engine.containers().find((one) => one.name === name))
    await until(() => (first!()?.signals.length ?? 0) > 0)
    manager.send(content('new', 'signal', 'SIGUSR1')) // told again after a reconnect: no news
    await clock.advance(10_000)
    assert.deepEqual(first!()?.signals, ['SIGUSR1'])
    assert.equal(Buffer.from(first!()!.files[0]!.data).toString(), 'new')
    assert.deepEqual(second!()?.signals, [])
    assert.equal(manager.last('t1')?.state, S.RUNNING)
  })

  it('with the policy none leaves running containers alone; new tasks get it', async () => {
    const { manager, engine, clock, until } = await createWorld()
    manager.send(content('old', 'none'))
    manager.run(task('t1', S.RUNNING, uses))
    await until(() => manager.last('t1')?.state === S.RUNNING)
    manager.send(content('new', 'none'))
    await clock.advance(10_000)
    manager.run(task('t2', S.RUNNING, uses))
    await until(() => manager.last('t2')?.state === S.RUNNING)
    const texts = engine.containers().map(({ files }) => Buffer.from(files[0]!.data).toString())
    assert.deepEqual(texts, ['old', 'new'])
  })
})
