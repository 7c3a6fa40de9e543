// What is wrong with a Compose file, where it stands, and what to do about it.
import { ShoalError } from '../lib/index.ts'

/** A place in a file; line and column count from 1. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

export interface Problem {
  readonly severity: 'error' | 'warning'
  readonly at: Place
  /** The name of what is meant, such as `services.web.ports[0]`; '' for the whole file. */
  readonly name: string
  readonly message: string
  /** What to do about it. */
  readonly advice?: string
}

/** More errors than anybody reads are counted, not kept: a file of garbage must not fill the memory. */
const MAX_PROBLEMS = 200

/** Collects problems while files are read, so that all of them are told at once. */
export class Problems {
  readonly #list: Problem[] = []
  readonly #seen = new Set<string>()
  #errors = 0

  get list(): readonly Problem[] {
    return this.#list
  }

  get hasErrors(): boolean {
    return this.#errors > 0
  }

  error(at: Place, name: string, message: string, advice?: string): void {
    this.#errors += 1
    this.#add({ severity: 'error', at, name, message, ...(advice ? { advice } : {}) })
  }

  warn(at: Place, name: string, message: string, advice?: string): void {
    this.#add({ severity: 'warning', at, name, message, ...(advice ? { advice } : {}) })
  }

  #add(problem: Problem): void {
    const key = problemText(problem)
    if (this.#list.length >= MAX_PROBLEMS || this.#seen.has(key)) return
    this.#seen.add(key)
    this.#list.push(problem)
  }
}

/** `compose.yaml:12:5: services.web.build: what is wrong. What to do.` */
export function problemText({ at, name, message, advice }: Problem): string {
  return `${at.file}:${at.line}:${at.column}: ${name ? `${name}: ` : ''}${message}${advice ? `. ${advice}` : ''}`
}

/** The files cannot be used; `problems` holds every reason, and the warnings found on the way. */
export class ComposeError extends ShoalError {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(
      'invalid-argument',
      problems
        .filter(({ severity }) => severity === 'error')
        .map(problemText)
        .join('\n'),
    )
    this.name = 'ComposeError'
    this.problems = problems
  }
}
