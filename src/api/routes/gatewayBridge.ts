// The engine-side network `docker_gwbridge`, which tools expect on every node of a swarm.
import { errorText } from '../../lib/index.ts'
import type { App } from '../app.ts'

const BODY = JSON.stringify({
  Name: 'docker_gwbridge',
  CheckDuplicate: true,
  Driver: 'bridge',
  Options: {
    'com.docker.network.bridge.name': 'docker_gwbridge',
    'com.docker.network.bridge.enable_icc': 'false',
    'com.docker.network.bridge.enable_ip_masquerade': 'true',
  },
})

/** Made when a node comes into a swarm, as dockerd does it. Nothing of ours depends on it, so a failure is only reported. */
export async function ensureGatewayBridge({ engine, deps: { log } }: App): Promise<void> {
  try {
    const answer = await engine.ask({ method: 'POST', path: '/networks/create', headers: { 'Content-Type': 'application/json' } }, BODY)
    if (answer.status >= 300 && answer.status !== 409) log.warn('the engine made no docker_gwbridge', { status: answer.status })
  } catch (error) {
    log.warn('the engine made no docker_gwbridge', { error: errorText(error) })
  }
}
