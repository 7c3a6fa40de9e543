// Shows progress: bars that are redrawn on a terminal; elsewhere a line whenever something has changed.
import type { Output } from '../../io.ts'
import type { Progress, TaskLine } from './plan.ts'

export interface ProgressView {
  /** Shows how far it is, with `note` (verify, rollback) as the last line. */
  show(progress: Progress, note: string): void
  /** A line that stays. */
  say(line: string): void
}

export function progressView(out: Output): ProgressView {
  return out.isTTY ? terminalView(out) : lineView(out)
}

const BAR_WIDTH = 50
const STEPS = 9

/** `running   [==========>]`, or the reason why not. */
function barLine({ label, state, step, reason }: TaskLine, labelWidth: number): string {
  const head = `${`${label}:`.padEnd(labelWidth + 1)} `
  if (reason) return `${head}${reason}`
  const filled = Math.round((step / STEPS) * BAR_WIDTH)
  const bar = filled === 0 ? '' : `${'='.repeat(Math.max(0, filled - 1))}>`
  return `${head}${state.padEnd(9)} [${bar.padEnd(BAR_WIDTH)}]`
}

function terminalView(out: Output): ProgressView {
  let drawn = 0
  const draw = (lines: readonly string[]) => {
    const fitted = lines.map((line) => [...line].slice(0, Math.max(20, out.columns - 1)).join(''))
    const up = drawn > 0 ? `\x1b[${drawn}A` : ''
    // Each line is cleared to its end, then whatever is left of a longer drawing below.
    out.write(`${up}\r${fitted.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J`)
    drawn = fitted.length
  }
  return {
    show(progress, note) {
      const width = Math.max(0, ...progress.tasks.map(({ label }) => label.length))
      draw([...progress.overall, ...progress.tasks.map((task) => barLine(task, width)), ...(note ? [note] : [])])
    },
    say(line) {
      draw([line])
      drawn = 0
    },
  }
}

function lineView(out: Output): ProgressView {
  const last = new Map<string, string>()
  const changed = (key: string, text: string) => {
    if (last.get(key) === text) return
    last.set(key, text)
    if (text) out.write(`${text}\n`)
  }
  return {
    show(progress, note) {
      for (const [i, line] of progress.overall.entries()) changed(`overall ${i}`, line)
      for (const { label, reason } of progress.tasks) changed(label, reason ? `${label}: ${reason}` : '')
      changed('note', note)
    },
    say(line) {
      out.write(`${line}\n`)
    },
  }
}
