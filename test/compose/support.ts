// Compose files in memory: what they load to, and what is said about them.
import { ComposeError, loadProject, type Plain, type Problem, type Project, problemText, toPlain } from '../../src/compose/index.ts'

export interface Input {
  readonly files: Readonly<Record<string, string>>
  /** Compose files in order; the first of `files` by default. */
  readonly use?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly profiles?: readonly string[]
  readonly envFiles?: readonly string[]
}

export function load(input: Input | string): Promise<Project> {
  const { files, use, environment = {}, ...rest } = typeof input === 'string' ? ({ files: { 'c.yaml': input } } as Input) : input
  const at = (path: string) => files[path.replace(/^\/p\//, '')]
  return loadProject({
    files: use ?? [Object.keys(files)[0] as string],
    directory: '/p',
    environment,
    source: {
      read: async (path) => {
        const text = at(path)
        if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
        return Buffer.from(text)
      },
      exists: (path) => at(path) !== undefined,
    },
    ...rest,
  })
}

/** The service of that name in the long form. */
export async function serviceOf(input: Input | string, name = 'web'): Promise<Record<string, Plain>> {
  const plain = JSON.parse(JSON.stringify(toPlain((await load(input)).tree))) as { services: Record<string, Record<string, Plain>> }
  return plain.services[name] as Record<string, Plain>
}

/** Errors (or, when it loads, warnings) as texts, without the folder. */
export async function problemsOf(input: Input | string): Promise<string[]> {
  const texts = (problems: readonly Problem[]) => problems.map((problem) => problemText(problem).replaceAll('/p/', ''))
  try {
    return texts((await load(input)).warnings)
  } catch (error) {
    if (!(error instanceof ComposeError)) throw error
    return texts(error.problems.filter(({ severity }) => severity === 'error'))
  }
}
