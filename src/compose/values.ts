// Texts that stand for something: durations (1m30s), sizes (64M), commands split like a shell does. Each throws an Error with the reason.

const UNIT_NS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
  d: 86_400e9,
  w: 604_800e9,
}

/** A duration such as 90s, 1m30s or 1.5h, in nanoseconds. */
export function durationNs(text: string): number {
  if (/^[-+]?0$/.test(text)) return 0
  const match = /^([-+]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h|d|w))+)$/.exec(text)
  if (!match) throw new Error(`${JSON.stringify(text)} is no duration: write it like 10s, 1m30s or 500ms`)
  let total = 0
  for (const part of (match[2] as string).matchAll(/(\d+\.?\d*|\.\d+)([a-zµ]+)/g))
    total += Number(part[1]) * (UNIT_NS[part[2] as string] ?? 0)
  if (total > Number.MAX_SAFE_INTEGER)
    throw new Error(`${text} is too long: ${Math.floor(Number.MAX_SAFE_INTEGER / 86_400e9)} days are the most`)
  return Math.round(match[1] === '-' ? -total : total)
}

const BYTE_POWERS = ['b', 'k', 'm', 'g', 't', 'p']

/** A size such as 64M, 1.5gb or 1048576, in bytes; units are powers of 1024. */
export function sizeBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?(?:([bkmgtp])(?:i?b)?)?$/i.exec(text.trim())
  if (!match) throw new Error(`${JSON.stringify(text)} is no size: write it like 512k, 64M or 2g`)
  const bytes = Math.floor(Number(match[1]) * 1024 ** Math.max(0, BYTE_POWERS.indexOf((match[2] ?? 'b').toLowerCase())))
  if (!Number.isSafeInteger(bytes)) throw new Error(`${text} is too large`)
  return bytes
}

/** The words of a command, split as a POSIX shell does (quotes and backslashes; no variables, no wildcards). */
export function shellWords(text: string): string[] {
  const words: string[] = []
  let word: string | undefined
  let i = 0
  while (i < text.length) {
    const char = text[i] as string
    if (/\s/.test(char)) {
      if (word !== undefined) words.push(word)
      word = undefined
      i += 1
    } else if (char === "'" || char === '"') {
      const [content, end] = quotedPart(text, i + 1, char)
      word = (word ?? '') + content
      i = end
    } else if (char === '\\') {
      word = (word ?? '') + (text[i + 1] ?? '')
      i += 2
    } else {
      word = (word ?? '') + char
      i += 1
    }
  }
  return word === undefined ? words : [...words, word]
}

function quotedPart(text: string, from: number, quote: string): [content: string, end: number] {
  let content = ''
  for (let i = from; i < text.length; i += 1) {
    const char = text[i] as string
    if (char === quote) return [content, i + 1]
    if (quote === '"' && char === '\\' && '"\\$`\n'.includes(text[i + 1] ?? ' ')) i += 1
    content += text[i]
  }
  throw new Error(`the quote ${quote} is never closed in ${JSON.stringify(text)}`)
}
