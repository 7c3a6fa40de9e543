// Lists for --format and -q: a table by default, JSON lines, or a template of the user's.
import type { Output } from '../io.ts'
import { compileTemplate, goJson } from './evaluate.ts'
import { alignColumns } from './table.ts'

export type Row = Readonly<Record<string, string | boolean | number | null>>

export interface ListLayout {
  /** Field name to column header, for every field that a template may name. */
  readonly headers: Readonly<Record<string, string>>
  /** The default table: one template cell per column, separated by tabs. */
  readonly table: string
}

/** Writes the rows as --format asks. Throws invalid-argument for a bad template, before or after some rows as docker does. */
export function writeRows(out: Output, layout: ListLayout, rows: readonly Row[], format = ''): void {
  const chosen = format.trim()
  if (chosen === '' || chosen === 'table') {
    writeTable(out, layout, rows, layout.table)
  } else if (chosen === 'json') {
    for (const row of rows) out.write(`${goJson(sorted(row))}\n`)
  } else if (/^table\s/.test(chosen)) {
    writeTable(out, layout, rows, unescapeTabs(chosen.slice('table'.length).trim()))
  } else {
    const template = compileTemplate(unescapeTabs(format), { strict: true })
    for (const row of rows) out.write(`${template(sorted(row))}\n`)
  }
}

function writeTable(out: Output, layout: ListLayout, rows: readonly Row[], source: string): void {
  const template = compileTemplate(source, { strict: true })
  const lines = [template(layout.headers), ...rows.map((row) => template(sorted(row)))]
  out.write(alignColumns(lines.map((line) => `${line}\n`).join('')))
}

/** Shells pass \t and \n as two characters; docker accepts them so. */
function unescapeTabs(text: string): string {
  return text.replaceAll('\\t', '\t').replaceAll('\\n', '\n')
}

function sorted(row: Row): Row {
  return Object.fromEntries(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))
}
