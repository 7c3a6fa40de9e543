// Numbers and instants as people read them, in the docker CLI's words.

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS

/** A length of time, rounded: "Less than a second", "8 seconds", "About a minute", "2 hours", "3 days". */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / SECOND_MS)
  if (seconds < 1) return 'Less than a second'
  if (seconds === 1) return '1 second'
  if (seconds < 60) return `${seconds} seconds`
  const minutes = Math.trunc(milliseconds / MINUTE_MS)
  if (minutes === 1) return 'About a minute'
  if (minutes < 60) return `${minutes} minutes`
  const hours = Math.trunc(milliseconds / HOUR_MS + 0.5)
  if (hours === 1) return 'About an hour'
  if (hours < 48) return `${hours} hours`
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`
  return `${Math.trunc(hours / 24 / 365)} years`
}

/** The time since an RFC 3339 instant: "8 seconds ago". */
export function ago(instant: string, nowMs: number): string {
  return `${humanDuration(nowMs - Date.parse(instant))} ago`
}

/** Bytes in powers of 1024 with four significant digits: 32MiB, 23.54GiB. */
export function bytesSize(bytes: number): string {
  return scaled(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'], 4)
}

/** Bytes in powers of 1000 with three significant digits: 1.99MB. */
export function decimalSize(bytes: number): string {
  return scaled(bytes, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'], 3)
}

function scaled(value: number, base: number, units: readonly string[], digits: number): string {
  let power = 0
  let rest = value
  while (rest >= base && power < units.length - 1) {
    rest /= base
    power += 1
  }
  return `${Number(rest.toPrecision(digits))}${units[power]}`
}

/** Nanoseconds as Go prints a duration: 5s, 1m30s, 2160h0m0s, 500ms, 0s. */
export function goDuration(ns: number): string {
  if (ns === 0) return '0s'
  if (ns < 0) return `-${goDuration(-ns)}`
  if (ns < 1e3) return `${ns}ns`
  if (ns < 1e6) return `${ns / 1e3}µs`
  if (ns < 1e9) return `${ns / 1e6}ms`
  const hours = Math.floor(ns / 3600e9)
  const minutes = Math.floor((ns - hours * 3600e9) / 60e9)
  const secondsNs = ns - hours * 3600e9 - minutes * 60e9
  const seconds = `${Math.floor(secondsNs / 1e9)}${fraction(secondsNs % 1e9)}s`
  if (hours > 0) return `${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${minutes}m${seconds}` : seconds
}

function fraction(ns: number): string {
  return ns === 0 ? '' : `.${String(ns).padStart(9, '0').replace(/0+$/, '')}`
}

/** An RFC 3339 instant as Go's String() prints it in UTC, with lower-case zone: 2026-11-22 18:24:53.286654743 +0000 utc. */
export function prettyInstant(instant: string, zone = 'utc'): string {
  const match = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z$/.exec(instant)
  if (!match) return instant
  return `${match[1]} ${match[2]}${(match[3] ?? '').replace(/\.?0+$/, '')} +0000 ${zone}`
}

/** The first letter in upper case: states in tables. */
export function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** Cut to at most `length` characters, the last of which is an ellipsis when something was cut. */
export function ellipsis(text: string, length: number): string {
  const characters = [...text]
  if (characters.length <= length) return text
  return length <= 3 ? characters.slice(0, length).join('') : `${characters.slice(0, length - 1).join('')}…`
}

export const SHORT_ID_LENGTH = 12

/** The first 12 characters of an id, without the algorithm of a digest. */
export function shortId(id: string): string {
  return id.replace(/^[^:]*:/, '').slice(0, SHORT_ID_LENGTH)
}

/** Names in an order in which web.2 comes before web.10. */
export function naturalCompare(a: string, b: string): number {
  const left = a.match(/\d+|\D+/g) ?? []
  const right = b.match(/\d+|\D+/g) ?? []
  for (let i = 0; i < Math.min(left.length, right.length); i += 1) {
    const x = left[i] as string
    const y = right[i] as string
    if (x === y) continue
    const bothNumbers = /^\d/.test(x) && /^\d/.test(y)
    if (bothNumbers && Number(x) !== Number(y)) return Number(x) - Number(y)
    return x < y ? -1 : 1
  }
  return left.length - right.length
}
