import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import type { Answer } from '../support/daemon.ts';

/** `container prune` with its filters, and what it and `system df` count. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

async function prune(filters: Readonly<Record<string, readonly string[]>>): Promise<Answer> {
  const query = encodeURIComponent(JSON.stringify(filters));
  return await box.daemon.api('POST', `/containers/prune?filters=${query}`);
}

/** Names of those it removed. */
async function pruned(filters: Readonly<Record<string, readonly string[]>>): Promise<string[]> {
  const answer = await prune(filters);
  assert.equal(answer.status, 200, answer.text);
  const { ContainersDeleted } = answer.json() as { ContainersDeleted: string[] | null };
  return (ContainersDeleted ?? []).map((id) => names.get(id) ?? id).sort();
}

const names = new Map<string, string>();

async function make(name: string, Labels: Readonly<Record<string, string>> = {}): Promise<string> {
  const id = await box.create({ Cmd: ['true'], Labels }, name);
  names.set(id, name);
  return id;
}

test('labels, labels that must not be, and times choose; what runs stays', async () => {
  const running = await box.up({ Cmd: ['sleep', '100'], Labels: { a: '1' } });
  const paused = await box.up({ Cmd: ['sleep', '100'], Labels: { a: '1' } });
  await box.daemon.json('POST', `/containers/${paused}/pause`);
  await make('one', { a: '1', b: '2' });
  await make('two', { a: '2' });
  await make('three', { c: '3' });
  await make('four');
  assert.deepEqual(await pruned({ until: ['1h'] }), []);
  assert.deepEqual(await pruned({ until: ['2020-01-01'] }), []);
  assert.deepEqual(await pruned({ label: ['a=1', 'b=9'] }), []);
  assert.deepEqual(await pruned({ label: ['a=1', 'b'] }), ['one']);
  assert.deepEqual(await pruned({ 'label!': ['c'], label: ['a'] }), ['two']);
  assert.deepEqual(await pruned({ 'label!': ['c=3'] }), ['four']);
  assert.deepEqual(await pruned({ until: [String(Math.ceil(Date.now() / 1000))] }), ['three']);
  for (const id of [running, paused]) await box.remove(id);
});

test('what is not a filter is refused, and nothing is removed', async () => {
  const id = await make('stays');
  for (const [filters, reason] of [
    [{ name: ['stays'] }, /invalid filter 'name'/],
    [{ until: ['1h', '2h'] }, /more than one until filter specified/],
    [{ until: ['yesterday'] }, /failed to parse value as time or duration/],
  ] as const) {
    const answer = await prune(filters);
    assert.equal(answer.status, 400, answer.text);
    assert.match(answer.text, reason);
  }
  const broken = await box.daemon.api('POST', '/containers/prune?filters={');
  assert.equal(broken.status, 400);
  assert.equal((await box.inspect(id)).State.Status, 'created');
  await box.remove(id);
});

test('the space that comes back is what system df said', async () => {
  const id = await box.up({ Cmd: ['sh', '-c', 'head -c 200000 /dev/zero >/big'] }, 'big');
  await box.wait(id);
  const usage = (await box.daemon.json('GET', '/system/df')) as {
    Containers: { Id: string; SizeRw?: number }[];
  };
  const size = usage.Containers.find(({ Id }) => Id === id)?.SizeRw;
  assert.equal(size, 200_000);
  const { SpaceReclaimed } = (await prune({})).json() as { SpaceReclaimed: number };
  assert.equal(SpaceReclaimed, size);
});
