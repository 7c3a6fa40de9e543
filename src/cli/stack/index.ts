// `shoal stack`: applications described by Compose files.
import type { Noun } from '../command.ts'
import { stackConfig } from './config.ts'
import { stackDeploy } from './deploy.ts'
import { stackDiff } from './diff.ts'
import { stackLs, stackPs, stackServices } from './lists.ts'
import { stackRm } from './rm.ts'

export const stack: Noun = {
  name: 'stack',
  short: 'Manage Swarm stacks',
  commands: [stackConfig, stackDeploy, stackDiff, stackLs, stackPs, stackRm, stackServices],
}
