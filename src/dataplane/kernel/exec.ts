// Runs the tools of the network stack: no shell, arguments as arrays, input by pipe, bounded in time and output.
import { spawn } from 'node:child_process'
import { ShoalError } from '../../lib/index.ts'

const TIMEOUT_MS = 10_000
/** A listing of a full node is a few MB. */
const MAX_OUTPUT_BYTES = 64 << 20
export const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }

export interface ToolResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a tool to its end, whatever its exit code. Throws ShoalError 'unavailable' when it cannot run or takes too long. */
export function runTool(tool: string, args: readonly string[], input = ''): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, args, { env: ENVIRONMENT, stdio: ['pipe', 'pipe', 'pipe'], timeout: TIMEOUT_MS, killSignal: 'SIGKILL' })
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] }
    let size = 0
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > MAX_OUTPUT_BYTES) child.kill('SIGKILL')
        else output[name].push(chunk)
      })
    }
    child.stdin.on('error', () => {}) // a tool that fails early does not read its input; its exit code tells
    child.stdin.end(input)
    child.on('error', (cause) => {
      const next = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? `install the package that provides ${tool}` : undefined
      reject(new ShoalError('unavailable', `${tool} could not be run: ${cause.message}`, { cause, next }))
    })
    child.on('close', (code, signal) => {
      const text = { stdout: Buffer.concat(output.stdout).toString(), stderr: Buffer.concat(output.stderr).toString() }
      if (code === null)
        reject(new ShoalError('unavailable', `${tool} was ended by ${signal} (limit ${TIMEOUT_MS} ms): ${firstLines(text.stderr)}`))
      else resolve({ code, ...text })
    })
  })
}

/** Runs a tool that has to succeed; its output. Throws ShoalError 'aborted' with its error text otherwise. */
export async function mustRun(tool: string, args: readonly string[], input = ''): Promise<string> {
  const result = await runTool(tool, args, input)
  if (result.code !== 0) throw new ShoalError('aborted', `${tool} ${args.join(' ')} failed: ${firstLines(result.stderr || result.stdout)}`)
  return result.stdout
}

export function firstLines(text: string): string {
  return text.trim().split('\n').slice(0, 4).join(' | ').slice(0, 600)
}
