// Sockets that only occupy something: the lock of the network namespace, and published ports.
import { createSocket, type Socket } from 'node:dgram'
import { createServer, type Server } from 'node:net'
import { ShoalError } from '../../lib/index.ts'

/** Occupied addresses by name, each until it is released. No socket keeps the process alive. */
export class Holder {
  #held = new Map<string, Server | Socket>()

  /** An abstract unix socket; these are per network namespace by nature. False when somebody has it. */
  async lock(name: string): Promise<boolean> {
    return this.#hold(`lock ${name}`, () =>
      listening(
        createServer((socket) => socket.destroy()),
        { path: `\0${name}` },
      ),
    )
  }

  async unlock(name: string): Promise<void> {
    await this.#release(`lock ${name}`)
  }

  async holdPort(protocol: 'tcp' | 'udp', port: number): Promise<boolean> {
    return this.#hold(`${protocol} ${port}`, () =>
      protocol === 'tcp'
        ? listening(
            createServer((socket) => socket.destroy()),
            { host: '0.0.0.0', port, exclusive: true },
          )
        : bound(createSocket('udp4'), port),
    )
  }

  async releasePort(protocol: 'tcp' | 'udp', port: number): Promise<void> {
    await this.#release(`${protocol} ${port}`)
  }

  async #hold(name: string, open: () => Promise<Server | Socket>): Promise<boolean> {
    if (this.#held.has(name)) return true
    try {
      this.#held.set(name, await open())
      return true
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'EADDRINUSE') return false
      throw new ShoalError('unavailable', `${name} could not be occupied: ${(cause as Error).message}`, { cause })
    }
  }

  async #release(name: string): Promise<void> {
    const socket = this.#held.get(name)
    this.#held.delete(name)
    if (socket) await new Promise<void>((resolve) => socket.close(() => resolve()))
  }
}

function listening(server: Server, where: { path: string } | { host: string; port: number; exclusive: boolean }): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      server.on('error', () => {}) // nothing is served; a failed accept is nobody's loss
      server.unref()
      resolve(server)
    })
  })
}

function bound(socket: Socket, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind({ address: '0.0.0.0', port, exclusive: true }, () => {
      socket.off('error', reject)
      socket.on('error', () => {})
      socket.unref()
      resolve(socket)
    })
  })
}
