// How output looks: tables, Go templates, JSON, human times and sizes.
export { compileTemplate, goJson } from './evaluate.ts'
export * from './human.ts'
export { indentJson, inspectAll } from './inspect.ts'
export { type ListLayout, type Row, writeRows } from './rows.ts'
export { alignColumns } from './table.ts'
