// Structured logging: one line per event, levels, fields; where lines go is the sink's business.

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

const ORDER: Record<LogLevel, number> = { debug: 10, info: 20, warn: 30, error: 40 }

/** Never pass secrets, tokens, keys or environment values as fields. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger that adds these fields to each line. */
  with(fields: LogFields): Logger
}

export type LogSink = (level: LogLevel, message: string, fields: LogFields) => void

export function createLogger(level: LogLevel, sink: LogSink, fields: LogFields = {}): Logger {
  const write = (at: LogLevel, message: string, more?: LogFields) => {
    if (ORDER[at] >= ORDER[level]) sink(at, message, more ? { ...fields, ...more } : fields)
  }
  return {
    debug: (message, more) => write('debug', message, more),
    info: (message, more) => write('info', message, more),
    warn: (message, more) => write('warn', message, more),
    error: (message, more) => write('error', message, more),
    with: (more) => createLogger(level, sink, { ...fields, ...more }),
  }
}

export const silentLogger: Logger = createLogger('error', () => {})

/** A line as logfmt: `time=… level=info msg="…" key=value`. */
export function logfmt(time: string, level: LogLevel, message: string, fields: LogFields): string {
  let line = `time=${time} level=${level} msg=${quote(message)}`
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) line += ` ${key}=${quote(String(value))}`
  return line
}

function quote(text: string): string {
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text)
}
