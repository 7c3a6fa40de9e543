// The domain: objects, states, specs and the rules that need nothing else.
export * from './assignment.ts'
export * from './defaults.ts'
export * from './naming.ts'
export * from './objects.ts'
export * from './spec.ts'
export * from './states.ts'
export { decodeStored, encodeStored, STORED_SCHEMA } from './stored/codec.ts'
