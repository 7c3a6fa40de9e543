// Aligns tab-separated text in columns as the docker CLI does: a column is at least 10 wide, with 3 blanks behind its longest cell.

const MIN_WIDTH = 10
const PADDING = 3

/**
 * Lines with tabs to lines with blanks. The text after the last tab of a line belongs to no column. A column reaches over the neighbouring
 * lines that have it, so lines without tabs end a table.
 */
export function alignColumns(text: string, minWidth = MIN_WIDTH, padding = PADDING): string {
  const endsWithNewline = text.endsWith('\n')
  const rows = (endsWithNewline ? text.slice(0, -1) : text).split('\n').map((line) => line.split('\t'))
  const widths: number[][] = rows.map(() => [])
  const columns = Math.max(...rows.map((row) => row.length)) - 1
  for (let column = 0; column < columns; column += 1) {
    for (let start = 0; start < rows.length; start += 1) {
      if (!hasCell(rows[start], column)) continue
      let end = start
      while (end < rows.length && hasCell(rows[end], column)) end += 1
      let width = minWidth
      for (let i = start; i < end; i += 1) width = Math.max(width, length(rows[i]?.[column] ?? '') + padding)
      for (let i = start; i < end; i += 1) (widths[i] as number[])[column] = width
      start = end
    }
  }
  const lines = rows.map((row, r) => row.map((cell, c) => cell + ' '.repeat(Math.max(0, (widths[r]?.[c] ?? 0) - length(cell)))).join(''))
  return lines.join('\n') + (endsWithNewline ? '\n' : '')
}

/** A cell belongs to a column only when a tab ends it. */
function hasCell(row: readonly string[] | undefined, column: number): boolean {
  return row !== undefined && column < row.length - 1
}

function length(text: string): number {
  return [...text].length
}
