// Entry of the demo; scripts/demo.mjs starts it under the pinned Node after the set-up.
import { runDemo } from './demo.ts'

process.exitCode = await runDemo(process.argv.slice(2))
