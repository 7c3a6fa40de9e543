// Ground floor: ids, instants, errors, logging, bounded queues.
export type { Brand, ClusterId, ConfigId, NetworkId, NodeId, SecretId, ServiceId, TaskId } from './brand.ts'
export { assert, type ErrorCode, errorText, isShoalError, ShoalError, unreachable } from './errors.ts'
export { base36, ID_LENGTH, isId, newId, type RandomBytes } from './ids.ts'
export { createLogger, type LogFields, type Logger, type LogLevel, type LogSink, logfmt, silentLogger } from './log.ts'
export { BoundedQueue } from './queue.ts'
export { HOUR_MS, type Instant, MINUTE_MS, MS, nsToMs, rfc3339, SECOND_MS, SECOND_NS } from './time.ts'
