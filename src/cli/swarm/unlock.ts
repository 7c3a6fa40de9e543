// `swarm unlock-key` and `unlock`: the key that locked managers need when they start.
import type { ApiClient } from '../../client/index.ts'
import { type Command, NO_ARGS } from '../command.ts'
import { ExitError } from '../io.ts'
import { updateCluster } from './spec.ts'

export function unlockKeyText(key: string): string {
  return (
    'To unlock a swarm manager after it restarts, run the `docker swarm unlock`\ncommand and provide the following key:\n\n' +
    `    ${key}\n\nRemember to store this key in a password manager, since without it you\nwill not be able to restart the manager.\n`
  )
}

export async function unlockKey(client: ApiClient): Promise<string> {
  const { UnlockKey } = await client.request<{ UnlockKey: string }>('GET', '/swarm/unlockkey')
  if (!UnlockKey) throw new ExitError(1, 'no unlock key is set')
  return UnlockKey
}

export const swarmUnlockKey: Command = {
  name: 'unlock-key',
  usage: '[OPTIONS]',
  short: 'Manage the unlock key',
  flags: [
    { name: 'quiet', short: 'q', kind: 'bool', help: 'Only display token' },
    { name: 'rotate', kind: 'bool', help: 'Rotate unlock key' },
  ],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const quiet = flags.bool('quiet')
    if (flags.bool('rotate')) {
      const cluster = await client.cluster()
      if (!cluster.Spec.EncryptionConfig?.AutoLockManagers) throw new ExitError(1, 'cannot rotate because autolock is not turned on')
      await updateCluster(client, cluster, cluster.Spec, { unlockKey: true })
      if (!quiet) io.stdout.write('Successfully rotated manager unlock key.\n\n')
    }
    const key = await unlockKey(client)
    io.stdout.write(quiet ? `${key}\n` : unlockKeyText(key))
    return 0
  },
}

export const swarmUnlock: Command = {
  name: 'unlock',
  usage: '',
  short: 'Unlock swarm',
  flags: [],
  args: NO_ARGS,
  async run({ io, client }) {
    const state = (await client.info()).Swarm?.LocalNodeState
    if (state === 'inactive') throw new ExitError(1, 'Error: This node is not part of a swarm')
    if (state !== 'locked') throw new ExitError(1, 'Error: swarm is not locked')
    // From standard input only: a key among the arguments would be visible to everybody on this computer.
    io.stderr.write('Enter unlock key: ')
    const key = Buffer.from(await io.readStdin())
      .toString('utf8')
      .trim()
    await client.request('POST', '/swarm/unlock', { body: { UnlockKey: key } })
    return 0
  },
}
