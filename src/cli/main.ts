// The entry of the shoal command line.
import { realIo } from './realIo.ts'
import { run } from './run.ts'

process.exitCode = await run(process.argv.slice(2), realIo())
