// What a command says about its flags, and the typed view of the values that were given.
import { assert } from '../../lib/index.ts'

/**
 * bool takes no value (or =true/=false); list may be repeated and keeps each value; strings splits at commas;
 * the other kinds are checked when they are parsed.
 */
export type FlagKind = 'bool' | 'string' | 'list' | 'strings' | 'int' | 'uint' | 'float' | 'duration' | 'bytes' | 'cpus'

export interface FlagDef {
  readonly name: string
  readonly short?: string
  readonly kind: FlagKind
  readonly help: string
  /** The word for the value in the help text; the kind's own name where not given, '' for none. */
  readonly value?: string
  /** Shown in the help text as (default X); not filled in. */
  readonly default?: string
  /** Checks and turns one given value into what the command works with; throws with the reason. */
  readonly parse?: (text: string) => unknown
  readonly hidden?: boolean
}

export function flagLabel(def: FlagDef): string {
  return def.short ? `-${def.short}, --${def.name}` : `--${def.name}`
}

/** The flags that were given, by name. Asking for a flag that the command does not have is a programming error. */
export class Flags {
  readonly #defs: ReadonlyMap<string, FlagDef>
  readonly #values: ReadonlyMap<string, readonly unknown[]>

  constructor(defs: readonly FlagDef[], values: ReadonlyMap<string, readonly unknown[]>) {
    this.#defs = new Map(defs.map((def) => [def.name, def]))
    this.#values = values
  }

  has(name: string): boolean {
    return this.#get(name) !== undefined
  }

  /** A switch: false when it was not given. */
  bool(name: string): boolean {
    return this.#get(name)?.at(-1) === true
  }

  string(name: string): string | undefined {
    return this.#get(name)?.at(-1) as string | undefined
  }

  /** A number: int, uint, float; duration and cpus in nanoseconds and nano-CPUs, bytes in bytes. */
  number(name: string): number | undefined {
    return this.#get(name)?.at(-1) as number | undefined
  }

  list(name: string): string[] {
    return [...((this.#get(name) ?? []) as readonly string[])]
  }

  /** The values that the flag's own `parse` made. */
  values<T>(name: string): T[] {
    return [...((this.#get(name) ?? []) as readonly T[])]
  }

  #get(name: string): readonly unknown[] | undefined {
    assert(this.#defs.has(name), `the command has no flag --${name}`)
    return this.#values.get(name)
  }
}
