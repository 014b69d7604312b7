import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { hostConfig } from '../../src/spec/docker/container.ts';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';

/** HostConfig fields with values that make no sense: one clear error each, and nothing is made. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const ZERO = hostConfig.zero() as Readonly<Record<string, unknown>>;
const FIELDS = Object.keys(ZERO);

/** Of any type, so of a wrong one for most fields. */
const anything = fc.constantFrom<unknown[]>(
  ...[true, 'text', '', 7, 0, -1, 1.5, 1e308, [], [1], ['x'], [[]], [null], {}, { a: 1 }],
  ...[{ a: 'b' }, { a: { b: [] } }, [{ a: 1 }], null],
);
const numbers = fc.constantFrom(
  ...[-1, -2, 1, 2 ** 31, -(2 ** 31), 2 ** 53, -(2 ** 53), 2 ** 62, 2 ** 63, -(2 ** 63), 1e19],
);
const words = fc.oneof(
  fc.constantFrom(
    ...['', ' ', '\0', '/', '..', ':', '::', '=', ',', '-1', '/a:/b:zz', 'a:b:c:d', '0-99999'],
    ...['container:', 'host', 'x'.repeat(70_000), '../../etc', '\u{1f600}', '[::1', '%', '{{'],
    ...['size=-1', 'size=99999999999999999999', '1.2.3.4/99', 'ALL', 'tcp', '99999/tcp', '/\n'],
  ),
  fc.string({ maxLength: 20 }),
);
const pairs = fc.dictionary(words, words, { maxKeys: 2 });
const lists = fc.array(words, { maxLength: 3 });

/** Objects with the keys that lists of objects know, and any values. */
const objects = fc.record(
  {
    ...{ Name: words, Soft: numbers, Hard: numbers, Path: words, Rate: numbers, Weight: numbers },
    ...{ PathOnHost: words, PathInContainer: words, CgroupPermissions: words, Driver: words },
    ...{ Type: fc.oneof(fc.constantFrom('bind', 'volume', 'tmpfs', 'image'), words) },
    ...{ Source: words, Target: words, TmpfsOptions: fc.record({ SizeBytes: numbers }) },
    ...{ VolumeOptions: fc.record({ Subpath: words, DriverConfig: fc.record({ Name: words }) }) },
    ...{ MaximumRetryCount: numbers, Config: pairs, HostPort: words, HostIp: words },
  },
  { requiredKeys: [] },
);
const values = fc.oneof(
  ...[anything, numbers, words, lists, pairs, objects, fc.array(objects, { maxLength: 2 })],
  fc.dictionary(words, fc.array(objects, { maxLength: 2 }), { maxKeys: 2 }),
);

/** What the API says to one; a container that was made for it is gone afterwards. */
async function probe(HostConfig: Readonly<Record<string, unknown>>): Promise<number> {
  const answer = await box.tryCreate({ Cmd: ['true'], HostConfig });
  const shown = JSON.stringify(HostConfig).slice(0, 300);
  assert.ok(answer.status < 500, `${shown}: ${answer.status} ${answer.text}`);
  const body = answer.json() as { Id: string; message: string };
  if (answer.status === 201) {
    const start = await box.daemon.api('POST', `/containers/${body.Id}/start`);
    assert.ok(start.status < 500, `start of ${shown}: ${start.status} ${start.text}`);
    const gone = await box.daemon.api('DELETE', `/containers/${body.Id}?force=1&v=1`);
    assert.ok([204, 404, 409].includes(gone.status), gone.text); // `AutoRemove` is at work, too
  } else assert.ok(body.message.length > 5, `${shown}: ${answer.text}`);
  return answer.status;
}

test('no value of any field makes the engine fail, or leaves something behind', async () => {
  await box.run({ Cmd: ['true'] });
  const before = takeStock(box.daemon);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...FIELDS), values, async (field, value) => {
      await probe({ [field]: value });
    }),
    { numRuns: Number(process.env['RUNS'] ?? 500) },
  );
  await eventually(
    async () => ((await box.daemon.json('GET', '/containers/json?all=1')) as []).length === 0,
  );
  const after = takeStock(box.daemon);
  assert.deepEqual(
    [after.mounts, after.processes, after.netns],
    [before.mounts, before.processes, before.netns],
  );
});
