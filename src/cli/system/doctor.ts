// `shoal doctor`: what is wrong with this node, and what to do about it. Exit status 1 when something does not work.
import { type Command, NO_ARGS } from '../command.ts'

interface Report {
  readonly healthy: boolean
  readonly findings: readonly {
    readonly check: string
    readonly level: 'ok' | 'warn' | 'fail'
    readonly text: string
    readonly next?: string
  }[]
}

const MARKS = { ok: 'ok   ', warn: 'warn ', fail: 'FAIL ' } as const

export const doctor: Command = {
  name: 'doctor',
  usage: '[OPTIONS]',
  short: 'Look for what stands in the way of the swarm on this node',
  flags: [{ name: 'format', kind: 'string', help: 'Output format: text or json', default: 'text' }],
  args: NO_ARGS,
  async run({ io, client, flags }) {
    const report = await client.request<Report>('GET', '/shoal/doctor')
    if (flags.string('format') === 'json') io.stdout.write(`${JSON.stringify(report)}\n`)
    else io.stdout.write(textOf(report))
    return report.healthy ? 0 : 1
  },
}

function textOf({ findings }: Report): string {
  const width = Math.max(...findings.map(({ check }) => check.length)) + 2
  const lines = findings.flatMap(({ check, level, text, next }) => [
    `${MARKS[level]}${check.padEnd(width)}${text}`,
    ...(next ? [`${' '.repeat(5 + width)}-> ${next}`] : []),
  ])
  return `${lines.join('\n')}\n`
}
