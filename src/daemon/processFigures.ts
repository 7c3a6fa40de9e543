// What /metrics says of this process: memory, processor, and how late its event loop is.
import { monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 20

export function createProcessFigures(): { processFigures: () => Record<string, number>; stop: () => void } {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  // the histogram measures the whole period between its ticks
  const late = (nanoseconds: number) => Math.max(0, (Number.isFinite(nanoseconds) ? nanoseconds / 1e6 : 0) - RESOLUTION_MS) / 1e3
  return {
    processFigures: () => {
      const { user, system } = process.cpuUsage()
      const figures = {
        process_resident_memory_bytes: process.memoryUsage.rss(),
        process_cpu_seconds_total: (user + system) / 1e6,
        process_uptime_seconds: process.uptime(),
        event_loop_lag_p50_seconds: late(delay.percentile(50)),
        event_loop_lag_p99_seconds: late(delay.percentile(99)),
        event_loop_lag_max_seconds: late(delay.max),
      }
      delay.reset() // since the last look
      return figures
    },
    stop: () => void delay.disable(),
  }
}
