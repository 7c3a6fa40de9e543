// `shoal task port-forward`: local ports that lead to ports of a task, its loopback included.
import { createServer, type Server, type Socket } from 'node:net'
import { errorText } from '../../lib/index.ts'
import type { Command } from '../command.ts'
import { ExitError } from '../io.ts'
import { findTask } from './find.ts'

export const taskPortForward: Command = {
  name: 'port-forward',
  usage: '[OPTIONS] TASK|SERVICE[.SLOT] [LOCAL:]PORT [[LOCAL:]PORT...]',
  short: 'Forward local TCP ports to a task, until Ctrl-C',
  flags: [{ name: 'address', kind: 'string', help: 'Local address to listen on', default: '127.0.0.1' }],
  args: { min: 2, max: Number.POSITIVE_INFINITY },
  async run({ io, client, flags, args }) {
    const [name, ...ports] = args
    const task = await findTask(client, name as string)
    const wanted = ports.map(parsePorts)
    const sockets = new Set<Socket>()
    const servers: Server[] = []
    try {
      for (const { local, remote } of wanted) {
        const server = createServer({ allowHalfOpen: true }, (socket) => {
          sockets.add(socket)
          socket.on('close', () => sockets.delete(socket))
          socket.on('error', () => socket.destroy())
          client.upgrade('POST', `/shoal/tasks/${task.ID}/forward`, { query: { port: remote } }).then(
            (stream) => {
              stream.on('error', () => socket.destroy())
              stream.on('close', () => socket.destroy())
              socket.on('close', () => stream.destroy())
              socket.pipe(stream).pipe(socket)
            },
            (error) => {
              io.stderr.write(`port ${remote}: ${errorText(error)}\n`)
              socket.destroy()
            },
          )
        })
        servers.push(server)
        const at = await listen(server, flags.string('address') ?? '127.0.0.1', local)
        io.stdout.write(`Forwarding from ${at} -> ${remote}\n`)
      }
      await new Promise<void>((resolve) => {
        if (io.interrupted.aborted) resolve()
        else io.interrupted.addEventListener('abort', () => resolve(), { once: true })
      })
    } finally {
      for (const server of servers) server.close()
      for (const socket of sockets) socket.destroy()
    }
    return 0
  },
}

function parsePorts(text: string): { local: number; remote: number } {
  const match = /^(?:(\d*):)?(\d+)$/.exec(text)
  const remote = Number(match?.[2])
  const local = match?.[1] === undefined ? remote : Number(match[1] || 0)
  if (!match || remote < 1 || remote > 65535 || local > 65535) throw new ExitError(125, `invalid port: "${text}" (give PORT or LOCAL:PORT)`)
  return { local, remote }
}

function listen(server: Server, host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new ExitError(1, `cannot listen on ${host}:${port}: ${error.message}`)))
    server.listen({ host, port }, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address ? `${address.address}:${address.port}` : `${host}:${port}`)
    })
  })
}
