// Doing the same to each argument: what worked is shown, what did not is told afterwards, and the status is 1.
import { ApiError } from '../client/index.ts'
import { errorText } from '../lib/index.ts'
import type { Context } from './command.ts'

/** Runs `act` for each argument and prints what it returns; goes on after failures, which are written to stderr at the end. */
export async function forEachArgument({ io, args }: Context, act: (argument: string) => Promise<string>): Promise<number> {
  const errors: string[] = []
  for (const argument of args) {
    try {
      io.stdout.write(`${await act(argument)}\n`)
    } catch (error) {
      // Without a daemon there is no sense in trying the others.
      if (!(error instanceof ApiError)) throw error
      errors.push(`Error response from daemon: ${errorText(error)}`)
    }
  }
  for (const error of errors) io.stderr.write(`${error}\n`)
  return errors.length > 0 ? 1 : 0
}
