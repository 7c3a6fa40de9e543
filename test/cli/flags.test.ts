// The grammar of flags, and garbage in them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseFlags, UsageError } from '../../src/cli/flags/index.ts'
import { ExitError } from '../../src/cli/io.ts'
import { CREATE_FLAGS, UPDATE_FLAGS } from '../../src/cli/service/flags.ts'

test('flags may stand anywhere, together, with or without =, and end at --', () => {
  const { flags, args } = parseFlags(CREATE_FLAGS, [
    '-dq',
    '--name=x',
    '-p80:80',
    '-e',
    'A=1',
    'img',
    '-t',
    '--env',
    'B=2',
    '--',
    '--name',
    'y',
  ])
  assert.equal(flags.string('name'), 'x')
  assert.deepEqual(flags.list('env'), ['A=1', 'B=2'])
  assert.ok(flags.bool('detach') && flags.bool('quiet') && flags.bool('tty'))
  assert.deepEqual(args, ['img', '--name', 'y'])
})

test('what follows the image belongs to the container when flags do not intersperse', () => {
  const { args } = parseFlags(CREATE_FLAGS, ['--name', 'x', 'img', 'sh', '-c', '--name'], false)
  assert.deepEqual(args, ['img', 'sh', '-c', '--name'])
})

test('a switch can be switched off', () => {
  assert.equal(parseFlags(CREATE_FLAGS, ['--detach=false']).flags.bool('detach'), false)
  assert.equal(parseFlags(CREATE_FLAGS, ['-d=false']).flags.bool('detach'), false)
})

test('each flag takes any text or refuses it as a usage error with status 125', () => {
  const defs = [...CREATE_FLAGS, ...UPDATE_FLAGS].filter(({ kind }) => kind !== 'bool')
  fc.assert(
    fc.property(fc.constantFrom(...defs), fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9=,:./-]{0,24}$/)), (def, text) => {
      try {
        parseFlags([def], [`--${def.name}=${text}`])
      } catch (error) {
        assert.ok((error instanceof UsageError && error.status === 125) || error instanceof ExitError, String(error))
      }
    }),
    { numRuns: 3000 },
  )
})
