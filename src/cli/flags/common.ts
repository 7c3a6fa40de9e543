// Flags that many commands share.
import type { FlagDef, Flags } from './types.ts'

export const FILTER: FlagDef = {
  name: 'filter',
  short: 'f',
  kind: 'list',
  value: 'filter',
  help: 'Filter output based on conditions provided',
  parse: (text) => {
    if (text !== '' && !text.includes('=')) throw new Error('bad format of filter (expected name=value)')
    return text
  },
}

export const LIST_FORMAT: FlagDef = {
  name: 'format',
  kind: 'string',
  help: "Format output using a custom template: 'table' (default), 'table TEMPLATE', 'json', or a Go template",
}

export const INSPECT_FORMAT: FlagDef = {
  name: 'format',
  short: 'f',
  kind: 'string',
  help: "Format output using a custom template: 'json' or a Go template",
}

export const PRETTY: FlagDef = { name: 'pretty', kind: 'bool', help: 'Print the information in a human friendly format' }
export const QUIET_IDS: FlagDef = { name: 'quiet', short: 'q', kind: 'bool', help: 'Only display IDs' }
export const NO_TRUNC: FlagDef = { name: 'no-trunc', kind: 'bool', help: 'Do not truncate output' }
export const NO_RESOLVE: FlagDef = { name: 'no-resolve', kind: 'bool', help: 'Do not map IDs to Names' }
export const DETACH: FlagDef = {
  name: 'detach',
  short: 'd',
  kind: 'bool',
  help: 'Exit immediately instead of waiting for the service to converge',
}
export const QUIET_PROGRESS: FlagDef = { name: 'quiet', short: 'q', kind: 'bool', help: 'Suppress progress output' }

/** The --filter flags as the API wants them: name to values. */
export function filtersOf(flags: Flags): Record<string, string[]> {
  const filters: Record<string, string[]> = {}
  for (const text of flags.list('filter')) {
    if (text === '') continue
    const equals = text.indexOf('=')
    const name = text.slice(0, equals).trim().toLowerCase()
    filters[name] = [...(filters[name] ?? []), text.slice(equals + 1).trim()]
  }
  return filters
}
