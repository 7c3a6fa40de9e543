// `inspect`: objects as the daemon's own JSON, or through a template; missing ones are reported after the found ones.
import { errorText } from '../../lib/index.ts'
import { ExitError, type Io } from '../io.ts'
import { compileTemplate } from './evaluate.ts'

/**
 * Shows each named object. `fetch` gives the daemon's JSON text of one. Without a format the result is one indented array;
 * with one, a line each. Errors come last, one line each, and make the status 1.
 */
export async function inspectAll(
  io: Io,
  names: readonly string[],
  format: string | undefined,
  fetch: (name: string) => Promise<string>,
): Promise<number> {
  const template = format && format !== 'json' ? compileTemplate(format) : undefined
  const texts: string[] = []
  const errors: string[] = []
  for (const name of names) {
    try {
      texts.push((await fetch(name)).trim())
    } catch (error) {
      errors.push(describeError(error))
    }
  }
  if (template) for (const text of texts) io.stdout.write(`${template(JSON.parse(text))}\n`)
  else if (format === 'json') io.stdout.write(`[${texts.join(',')}]\n`)
  else io.stdout.write(`${indentJson(`[${texts.join(',')}]`)}\n`)
  for (const error of errors) io.stderr.write(`${error}\n`)
  return errors.length > 0 ? 1 : 0
}

function describeError(error: unknown): string {
  if (error instanceof ExitError) return error.message
  const text = errorText(error)
  return error instanceof Error && 'status' in error ? `Error response from daemon: ${text}` : text
}

const INDENT = '    '

/** JSON with new lines and indentation; numbers, escapes and the order of fields stay as they were sent. */
export function indentJson(text: string): string {
  let out = ''
  let depth = 0
  let i = 0
  const newline = () => `\n${INDENT.repeat(depth)}`
  while (i < text.length) {
    const char = text[i] as string
    if (char === '"') {
      let end = i + 1
      while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1
      out += text.slice(i, end + 1)
      i = end
    } else if (char === '{' || char === '[') {
      const empty = /^[[{]\s*[\]}]/.exec(text.slice(i, i + 64))
      if (empty) {
        out += char + empty[0].at(-1)
        i += empty[0].length - 1
      } else {
        depth += 1
        out += char + newline()
      }
    } else if (char === '}' || char === ']') {
      depth -= 1
      out += newline() + char
    } else if (char === ',') out += char + newline()
    else if (char === ':') out += ': '
    else if (!/\s/.test(char)) out += char
    i += 1
  }
  return out
}
