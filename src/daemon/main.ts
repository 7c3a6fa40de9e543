// Entry of bin/shoald: command line, signals, exit status.
import { errorText, isShoalError } from '../lib/index.ts'
import { type Daemon, startDaemon } from './daemon.ts'
import { parseOptions, USAGE } from './options.ts'
import { VERSION } from './version.ts'

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') return void process.stdout.write(USAGE)
  if (options === 'version') return void process.stdout.write(`shoald ${VERSION}\n`)
  let daemon: Daemon | undefined
  let stopping = false
  const stop = (): void => {
    if (stopping) process.exit(1) // a second signal means now
    stopping = true
    void (async () => {
      await daemon?.stop()
      process.exit(0)
    })()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  daemon = await startDaemon(options)
  if (stopping) await daemon.stop()
}

try {
  await main()
} catch (error) {
  const next = isShoalError(error) && error.next ? `\n${error.next}` : ''
  process.stderr.write(`shoald: ${errorText(error)}${next}\n`)
  process.exit(1)
}
