// The door of compose: reads Compose files by the Compose Specification into a typed project, with the place of everything that is wrong.
export { type FileSource, type LoadOptions, loadProject, type Project } from './load.ts'
export { ComposeError, type Place, type Problem, problemText } from './problems.ts'
export type { Config, Network, Secret, Service, Volume } from './schema/project.ts'
export { NODE_NETWORKS } from './swarm.ts'
export { type Plain, placeOf, type Tree, toPlain } from './tree.ts'
export { sizeBytes } from './values.ts'
export { formatYaml } from './yaml.ts'
