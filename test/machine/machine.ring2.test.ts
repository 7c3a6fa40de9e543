// Machines with a real kernel and engine: their life, their crashes, and that nothing is left of them.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  createMachine,
  downAll,
  inspectMachine,
  killMachine,
  leftovers,
  listMachines,
  type Machine,
  machineExec,
  machineRun,
  machineSet,
  removeMachine,
  setLink,
  startMachine,
  stopMachine,
} from '../../src/machine/index.ts'

const set = machineSet({ name: 'mtest', subnet: '10.78.1.0/24' })
const sh = async (name: string, script: string) => {
  const { status, stdout, stderr } = await machineRun(name, ['sh', '-c', script], { set, timeoutMs: 60_000 })
  assert.equal(status, 0, `${script}: ${stdout}${stderr}`)
  return stdout.trim()
}
const engine = (name: string, options: { builtinImages?: boolean; images?: string[] } = {}) =>
  createMachine(name, { set, engineOnly: true, ...options })

describe('machines', { timeout: 240_000 }, () => {
  let machines: Machine[] = []
  before(async () => {
    await downAll({ set })
    machines = await Promise.all(['t1', 't2', 't3'].map((name) => engine(name)))
  })
  after(() => downAll({ set }))

  it('created at once have addresses of their own, reach each other and have the images', async () => {
    assert.equal(new Set(machines.map((machine) => machine.address)).size, 3)
    assert.deepEqual(
      listMachines({ set }).map((machine) => [machine.name, machine.state]),
      machines.map((machine) => [machine.name, 'Running']),
    )
    await sh('t1', 'docker run -d --name web -p 80:80 --restart always nginx && sleep 0.5')
    const page = await sh('t2', `curl -s http://${machines[0]?.address}/`)
    assert.match(page, /Welcome to nginx!/)
    assert.equal(await sh('t2', 'hostname'), 't2')
  })

  it('pull by a plain name without internet', async () => {
    assert.match(await sh('t2', 'docker pull nginx:alpine'), /Image is up to date/)
  })

  it('pass on the exit status of a command', async () => {
    assert.equal(await machineExec('t1', ['sh', '-c', 'exit 42'], { set }), 42)
    assert.equal(await machineExec('t1', ['sh', '-c', 'kill -9 $$'], { set }), 137)
  })

  it('are not touched by a second creation', async () => {
    assert.equal((await engine('t1')).pid, machines[0]?.pid)
  })

  it('keep their containers when dockerd or containerd is killed', async () => {
    const before = await sh('t1', "docker inspect -f '{{.State.Pid}}' web")
    await sh('t1', 'kill -9 $(pgrep -x dockerd) && kill -9 $(pgrep -x containerd)')
    await sh('t1', 'for i in $(seq 200); do docker ps >/dev/null 2>&1 && exit; sleep 0.05; done; exit 1')
    assert.equal(await sh('t1', "docker inspect -f '{{.State.Pid}}' web"), before)
    assert.equal(await sh('t1', 'docker run --rm busybox echo fine'), 'fine')
  })

  it('are cut off and healed at the cable', async () => {
    const ping = `busybox ping -c1 -W1 ${machines[0]?.address}`
    await setLink('t1', 'down', { set })
    assert.notEqual((await machineRun('t2', ['sh', '-c', ping], { set })).status, 0)
    await setLink('t1', 'up', { set })
    await sh('t2', ping)
  })

  it('leave no process behind when PID 1 is killed, and come back with their containers', async () => {
    await killMachine('t1', { set })
    assert.equal((await inspectMachine('t1', { set })).state, 'Stopped')
    assert.deepEqual(
      (await leftovers({ set })).filter((line) => line.includes('/t1')),
      [],
    )
    const again = await startMachine('t1', { set })
    assert.equal(again.address, machines[0]?.address)
    await sh('t1', 'for i in $(seq 100); do curl -sf http://127.0.0.1/ && exit; sleep 0.05; done; exit 1')
  })

  it('notice that the computer killed them behind their back', async () => {
    process.kill(machines[1]?.pid ?? 0, 'SIGKILL')
    const again = await engine('t2')
    assert.notEqual(again.pid, machines[1]?.pid)
    assert.equal(await sh('t2', 'docker run --rm busybox echo fine'), 'fine')
  })

  it('stop in order and start again', async () => {
    await sh('t3', 'docker run -d --name who whoami')
    await stopMachine('t3', { set })
    await assert.rejects(machineRun('t3', ['true'], { set }), /is not running/)
    await startMachine('t3', { set })
    assert.equal(await sh('t3', "docker inspect -f '{{.State.Status}}' who"), 'exited')
  })

  it('are refused removal while they run, unless forced', async () => {
    await assert.rejects(removeMachine('t3', { set }), /is running/)
    await removeMachine('t3', { set, force: true })
    assert.deepEqual(
      (await leftovers({ set })).filter((line) => line.includes('/t3')),
      [],
    )
  })

  it('are made afresh where an interrupted creation left a folder', async () => {
    const dir = join(set.dataDir, 'half')
    mkdirSync(dir, { recursive: true })
    writeFileSync(join(dir, 'machine.json'), JSON.stringify({ name: 'half', address: machines[0]?.address, ready: false, shoaldArgs: [] }))
    const machine = await engine('half', { builtinImages: false })
    assert.notEqual(machine.address, machines[0]?.address)
    assert.equal(await sh('half', 'docker images -q'), '')
  })

  it('leave nothing on the computer when the set is taken down', async () => {
    assert.deepEqual(await downAll({ set }), [])
    assert.equal(existsSync(set.dataDir), false)
  })
})
