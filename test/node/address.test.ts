// Which addresses a node listens on and advertises.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type InterfaceAddress, resolveAdvertise, resolveDataPath, resolveListen } from '../../src/node/address.ts'

const lo: InterfaceAddress = { device: 'lo', address: '127.0.0.1', loopback: true }
const eth0: InterfaceAddress = { device: 'eth0', address: '192.168.1.8', loopback: false }
const eth1: InterfaceAddress = { device: 'eth1', address: '10.1.1.1', loopback: false }
const docker0: InterfaceAddress = { device: 'docker0', address: '172.17.0.1', loopback: false }
const everywhere = { host: '0.0.0.0', port: 2377 }

test('the only address of the computer is advertised; bridges of the engine do not count', () => {
  assert.deepEqual(resolveAdvertise('', undefined, everywhere, [lo, eth0, docker0]), { host: '192.168.1.8', port: 2377 })
})

test('with several addresses the user is asked to choose, and told between which', () => {
  assert.throws(
    () => resolveAdvertise('', undefined, everywhere, [lo, eth0, eth1]),
    /192\.168\.1\.8 on eth0 and 10\.1\.1\.1 on eth1.*--advertise-addr/,
  )
})

test('flag before daemon default before listen address; interface names and ports are understood', () => {
  const all = [lo, eth0, eth1]
  assert.deepEqual(resolveAdvertise('eth1:9999', '192.168.1.8', everywhere, all), { host: '10.1.1.1', port: 9999 })
  assert.deepEqual(resolveAdvertise('', 'eth0', { host: '0.0.0.0', port: 5000 }, all), { host: '192.168.1.8', port: 5000 })
  assert.deepEqual(resolveAdvertise('', undefined, { host: '127.0.0.1', port: 2400 }, all), { host: '127.0.0.1', port: 2400 })
})

test('listening takes all addresses, one, or those of an interface', () => {
  assert.deepEqual(resolveListen('', [lo]), everywhere)
  assert.deepEqual(resolveListen('0.0.0.0:2400', [lo]), { host: '0.0.0.0', port: 2400 })
  assert.deepEqual(resolveListen('eth0:2400', [lo, eth0]), { host: '192.168.1.8', port: 2400 })
  assert.throws(() => resolveListen('eth7', [lo, eth0]), /neither an IP address nor a network interface/)
  assert.throws(() => resolveListen('a:b:c', [lo]), /invalid address/)
})

test('the data path follows the advertised address unless it is given', () => {
  assert.equal(resolveDataPath('', { host: '192.168.1.8', port: 2377 }, [eth1]), '192.168.1.8')
  assert.equal(resolveDataPath('eth1', { host: '192.168.1.8', port: 2377 }, [eth1]), '10.1.1.1')
})
