// Flags of the command line, with the grammar of the docker CLI (pflag): --name value, --name=value, -n value, -nvalue, -abc, --bool=false.
export * from './common.ts'
export { parseFlags, parseInteger, UsageError } from './parse.ts'
export { type FlagDef, type FlagKind, Flags, flagLabel } from './types.ts'
export { csvFields, keyValue, keyValues, parseBytes, parseCpus, parseDurationNs, shellWords } from './values.ts'
