// Join tokens.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeJoinToken, makeJoinTokens, parseJoinToken, rootDigest, sameToken } from '../../src/ca/index.ts'
import { createRandom } from '../../src/ports/fakes/index.ts'

const PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'

test('a token holds the digest of exactly the bytes of the root certificate', () => {
  const token = makeJoinToken(PEM, createRandom(1))
  assert.match(token, /^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/)
  assert.equal(parseJoinToken(token).rootDigest, rootDigest(new TextEncoder().encode(PEM)))
  assert.notEqual(rootDigest(PEM), rootDigest(PEM.trimEnd()))
})

test('tokens of the roles differ, and only the whole token counts', () => {
  const { worker, manager } = makeJoinTokens(PEM, createRandom(2))
  assert.notEqual(worker, manager)
  assert.equal(sameToken(worker, worker), true)
  assert.equal(sameToken(worker, manager), false)
  assert.equal(sameToken(worker.slice(0, -1), worker), false)
  assert.equal(sameToken('', worker), false)
})

test('what is no token is refused with a next step', () => {
  const token = makeJoinToken(PEM, createRandom(3))
  for (const wrong of ['', 'x', token.slice(1), `${token}x`, token.toUpperCase(), token.replace('SWMTKN-1', 'SWMTKN-2')]) {
    assert.throws(
      () => parseJoinToken(wrong),
      (error: { code: string; next?: string }) => error.code === 'invalid-argument' && !!error.next,
    )
  }
})
