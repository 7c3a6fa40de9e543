// Templates, tables, durations: the shapes of output.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseDurationNs, shellWords } from '../../src/cli/flags/index.ts'
import { alignColumns, compileTemplate, goDuration, humanDuration, indentJson, naturalCompare } from '../../src/cli/format/index.ts'
import { isShoalError } from '../../src/lib/index.ts'

const DATA = { Name: 'web', Count: 3, Empty: '', Labels: { b: '2', a: '1' }, Items: [{ ID: 'x' }, { ID: 'y' }], Health: { Test: ['CMD'] } }

const TEMPLATES: readonly (readonly [string, string])[] = [
  ['{{.Name}}', 'web'],
  ['{{.Labels}}', 'map[a:1 b:2]'],
  ['{{.Items}}', '[map[ID:x] map[ID:y]]'],
  ['{{range .Items}}{{.ID}},{{end}}', 'x,y,'],
  ['{{range $i, $item := .Items}}{{$i}}={{$item.ID}} {{end}}', '0=x 1=y '],
  ['{{range $key, $value := .Labels}}{{$key}}:{{$value}};{{end}}', 'a:1;b:2;'],
  ['{{range .Missing}}x{{else}}none{{end}}', 'none'],
  ['{{if .Empty}}a{{else if .Name}}b{{else}}c{{end}}', 'b'],
  ['{{with .Name}}{{.}}{{end}}', 'web'],
  ['{{json .Labels}}', '{"b":"2","a":"1"}'],
  ['{{.Name | upper | printf "%s!"}}', 'WEB!'],
  ['{{printf "%-5s|%5s|%d" .Name .Name .Count}}', 'web  |  web|3'],
  ['{{len .Items}} {{index .Labels "a"}} {{index .Items 1}}', '2 1 map[ID:y]'],
  ['{{join .Health.Test ","}} {{.health.test}}', 'CMD [CMD]'],
  ['{{eq .Name "web"}} {{ne .Count 3}} {{lt 1 2}} {{and .Name .Empty}} {{or .Empty .Name}} {{not .Empty}}', 'true false true  web true'],
  ['a {{- .Name -}} b', 'awebb'],
  ['{{/* comment */}}x', 'x'],
  ['{{$x := .Name}}{{$x}}{{$.Count}}', 'web3'],
  ['{{(index .Items 0).ID}}', 'x'],
  ['{{.Missing}} {{.Missing.Deeper}}', '<no value> <no value>'],
  ['{{"}}"}}', '}}'],
  ['{{range .Items}}{{if eq .ID "y"}}{{break}}{{end}}{{.ID}}{{end}}', 'x'],
]

for (const [source, expected] of TEMPLATES) {
  test(`the template ${source} gives ${JSON.stringify(expected)}`, () => assert.equal(compileTemplate(source)(DATA), expected))
}

test('a template that is no template is refused with a sentence, whatever it is', () => {
  const parts = fc.constantFrom(
    '{{',
    '}}',
    '.Name',
    '|',
    '(',
    ')',
    'range',
    'end',
    'if',
    'else',
    ' ',
    '$x',
    ':=',
    '"',
    '`',
    'json',
    '1',
    'x',
    '-',
    '.',
    ',',
  )
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 12 }), (list) => {
      try {
        compileTemplate(list.join(''))(DATA)
      } catch (error) {
        assert.ok(isShoalError(error, 'invalid-argument'), String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

test('a field that rows do not have is refused and the ones that exist are named', () => {
  assert.throws(() => compileTemplate('{{.Nmae}}', { strict: true })({ Name: 'x' }), /can't evaluate field Nmae; the fields are \.Name/)
})

test('columns are at least ten wide, with three blanks behind the longest cell, counted in characters', () => {
  assert.equal(alignColumns('ID\tNAME\tX\nabcdefghijkl\tüü\ty\n'), 'ID             NAME      X\nabcdefghijkl   üü        y\n')
})

test('durations read as docker says them', () => {
  const seconds: readonly (readonly [number, string])[] = [
    [0.4, 'Less than a second'],
    [1, '1 second'],
    [59, '59 seconds'],
    [60, 'About a minute'],
    [119, 'About a minute'],
    [120, '2 minutes'],
    [3600, 'About an hour'],
    [47 * 3600, '47 hours'],
    [48 * 3600, '2 days'],
    [14 * 24 * 3600, '2 weeks'],
    [90 * 24 * 3600, '3 months'],
    [3 * 365 * 24 * 3600, '3 years'],
  ]
  for (const [value, words] of seconds) assert.equal(humanDuration(value * 1000), words)
})

test('a duration that is printed parses to the same length of time', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9e15 }), (ns) => {
      const parsed = parseDurationNs(goDuration(ns))
      // Sums of float products may be off in the last bit.
      assert.ok(Math.abs(parsed - ns) <= 2, `${ns} -> ${goDuration(ns)} -> ${parsed}`)
    }),
  )
  assert.equal(goDuration(7776000000000000), '2160h0m0s')
})

test('JSON is indented without a change of values, order or escapes', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const indented = indentJson(text)
      assert.equal(JSON.stringify(JSON.parse(indented)), JSON.stringify(JSON.parse(text)))
    }),
  )
  assert.equal(
    indentJson('[{"b":1.0,"a":[],"c":{},"d":"\\u003c{"}]'),
    '[\n    {\n        "b": 1.0,\n        "a": [],\n        "c": {},\n        "d": "\\u003c{"\n    }\n]',
  )
})

test('names sort with numbers by value', () => {
  assert.deepEqual(['web.10', 'web.9', 'web.1', 'a'].sort(naturalCompare), ['a', 'web.1', 'web.9', 'web.10'])
})

test('words are split as a shell splits them', () => {
  assert.deepEqual(shellWords(`sh -c 'a  b' "c \\"d\\"" e\\ f ""`), ['sh', '-c', 'a  b', 'c "d"', 'e f', ''])
  assert.throws(() => shellWords("a 'b"))
})
