import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageOf, notFound, toEngineError } from './errors.ts';

test('what went wrong first is told, not that putting things away failed too', () => {
  const first = notFound('no such thing');
  let thrown: unknown;
  try {
    using _one = { [Symbol.dispose]: () => assert.fail('the disk is gone') };
    using _two = { [Symbol.dispose]: () => assert.fail('and gone') };
    throw first;
  } catch (error) {
    thrown = error;
  }
  assert.notEqual(thrown, first);
  assert.equal(messageOf(thrown), 'no such thing');
  assert.equal(toEngineError(thrown), first);
});
