// The Compose files of a command line: which they are, and the project in them; warnings go to stderr.
import path from 'node:path'
import { type FileSource, loadProject, type Project, problemText } from '../../compose/index.ts'
import type { FlagDef, Flags } from '../flags/index.ts'
import { ExitError, type Io } from '../io.ts'

export const COMPOSE_FLAGS: readonly FlagDef[] = [
  {
    name: 'compose-file',
    short: 'c',
    kind: 'strings',
    help: 'Path to a Compose file, or "-" to read from stdin; later ones override earlier ones',
  },
  { name: 'env-file', kind: 'strings', help: 'File with variables, instead of .env beside the Compose file' },
  { name: 'profile', kind: 'strings', help: 'Enable services with this profile' },
]

const DEFAULT_FILES = ['compose.yaml', 'compose.yml', 'docker-compose.yaml', 'docker-compose.yml']
const STACK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/

/** The stack's name, checked as docker checks it. */
export function stackName(text: string | undefined): string {
  const name = (text ?? '').trim().replace(/^(['"])(.*)\1$/, '$2')
  if (name === '' || !STACK_NAME.test(name)) throw new ExitError(1, `invalid stack name: ${JSON.stringify(text ?? '')}`)
  return name
}

/** Reads the files that the flags name. Errors name file, line and column. */
export async function projectOf(io: Io, flags: Flags): Promise<Project> {
  const project = await loadProject({
    files: composeFiles(io, flags.list('compose-file')),
    directory: directoryOf(io),
    source: sourceOf(io),
    environment: io.env,
    ...(flags.has('env-file') ? { envFiles: flags.list('env-file') } : {}),
    profiles: flags.list('profile'),
  })
  for (const warning of project.warnings) io.stderr.write(`${problemText(warning)}\n`)
  return project
}

function directoryOf(io: Io): string {
  return io.env.PWD && path.isAbsolute(io.env.PWD) ? io.env.PWD : process.cwd()
}

function composeFiles(io: Io, given: readonly string[]): readonly string[] {
  if (given.length > 0) return given
  const directory = directoryOf(io)
  const found = DEFAULT_FILES.find((name) => io.exists(path.join(directory, name)))
  if (!found) throw new ExitError(1, `there is no Compose file here\nGive it with -c FILE, or call it ${DEFAULT_FILES[0]}.`)
  const override = found.replace(/\.(ya?ml)$/, '.override.$1')
  return io.exists(path.join(directory, override)) ? [found, override] : [found]
}

function sourceOf(io: Io): FileSource {
  return { read: (file) => (file === '-' ? io.readStdin() : io.readFile(file)), exists: (file) => io.exists(file) }
}
