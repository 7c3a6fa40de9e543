// `shoal swarm`: the swarm as a whole.
import type { ClusterSpec } from '../../client/index.ts'
import { type Command, commandHelp, NO_ARGS, type Noun } from '../command.ts'
import { ExitError } from '../io.ts'
import { swarmInit, swarmJoin, swarmJoinToken, swarmLeave } from './join.ts'
import { CERT_EXPIRY, changedClusterSpec, EXTERNAL_CA, SPEC_FLAGS, updateCluster } from './spec.ts'
import { swarmUnlock, swarmUnlockKey, unlockKey, unlockKeyText } from './unlock.ts'

const swarmUpdate: Command = {
  name: 'update',
  usage: '[OPTIONS]',
  short: 'Update the swarm',
  flags: [...SPEC_FLAGS, { name: 'autolock', kind: 'bool', help: 'Change manager autolocking setting (true|false)' }],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    if (!swarmUpdate.flags.some(({ name }) => flags.has(name))) {
      io.stdout.write(commandHelp(swarmUpdate, 'shoal swarm update'))
      return 0
    }
    const cluster = await client.cluster()
    const spec = changedClusterSpec(flags, cluster.Spec)
    await updateCluster(client, cluster, spec)
    io.stdout.write('Swarm updated.\n')
    if (spec.EncryptionConfig?.AutoLockManagers && flags.has('autolock')) io.stdout.write(unlockKeyText(await unlockKey(client)))
    return 0
  },
}

const ROTATION_POLL_MS = 500

const swarmCa: Command = {
  name: 'ca',
  usage: '[OPTIONS]',
  short: 'Display and rotate the root CA',
  flags: [
    {
      name: 'ca-cert',
      kind: 'string',
      value: 'pem-file',
      help: 'Path to the PEM-formatted root CA certificate to use for the new cluster',
    },
    { name: 'ca-key', kind: 'string', value: 'pem-file', help: 'Path to the PEM-formatted root CA key to use for the new cluster' },
    CERT_EXPIRY,
    { name: 'detach', short: 'd', kind: 'bool', help: 'Exit immediately instead of waiting for the root rotation to converge' },
    EXTERNAL_CA,
    { name: 'quiet', short: 'q', kind: 'bool', help: 'Suppress progress output' },
    { name: 'rotate', kind: 'bool', help: 'Rotate the swarm CA - if no certificate or key are provided, new ones will be generated' },
  ],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const before = await client.cluster()
    if (!flags.bool('rotate')) {
      const needsRotate = ['ca-cert', 'ca-key', 'cert-expiry', 'external-ca'].find((name) => flags.has(name))
      if (needsRotate) throw new ExitError(1, `\`--${needsRotate}\` flag requires the \`--rotate\` flag to update the CA`)
      if (!before.TLSInfo?.TrustRoot) throw new ExitError(1, 'No CA information available')
      io.stdout.write(`${before.TLSInfo.TrustRoot.trim()}\n`)
      return 0
    }
    const pem = async (name: string) => {
      const path = flags.string(name)
      return path === undefined ? undefined : Buffer.from(await io.readFile(path)).toString('utf8')
    }
    const caConfig: ClusterSpec['CAConfig'] = {
      ...before.Spec.CAConfig,
      NodeCertExpiry: flags.number('cert-expiry') ?? before.Spec.CAConfig?.NodeCertExpiry,
      SigningCACert: (await pem('ca-cert')) || undefined,
      SigningCAKey: (await pem('ca-key')) || undefined,
      // A higher number is the order to make a new root even if nothing else has changed.
      ForceRotate: (before.Spec.CAConfig?.ForceRotate ?? 0) + 1,
    }
    await updateCluster(client, before, { ...before.Spec, CAConfig: caConfig })
    if (flags.bool('detach')) return 0
    for (;;) {
      const cluster = await client.cluster()
      if (!cluster.RootRotationInProgress) {
        io.stdout.write(`${(cluster.TLSInfo?.TrustRoot ?? '').trim()}\n`)
        return 0
      }
      await io.sleep(ROTATION_POLL_MS, io.interrupted)
    }
  },
}

export const swarm: Noun = {
  name: 'swarm',
  short: 'Manage Swarm',
  commands: [swarmCa, swarmInit, swarmJoin, swarmJoinToken, swarmLeave, swarmUnlock, swarmUnlockKey, swarmUpdate],
}
