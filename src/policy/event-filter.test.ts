import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventMessage } from '../spec/docker/event.ts';
import type { Filters } from '../spec/filters.ts';
import { eventFilter } from './event-filter.ts';

const common = { scope: 'local', time: 0, timeNano: 0 } as const;
const start: EventMessage = {
  ...common,
  Type: 'container',
  Action: 'start',
  Actor: { ID: 'abcdef', Attributes: { name: 'web', image: 'team/app:v1', tier: 'one' } },
};
const exec: EventMessage = { ...start, Action: 'exec_create: sh -c true' };
const pull: EventMessage = {
  ...common,
  Type: 'image',
  Action: 'pull',
  Actor: { ID: 'sha256:12', Attributes: { name: 'team/app:v1' } },
};
const connect: EventMessage = {
  ...common,
  Type: 'network',
  Action: 'connect',
  Actor: { ID: '9876', Attributes: { name: 'bridge', container: 'abcdef' } },
};

test('filters choose the events that Docker chooses', () => {
  const all = { start, exec, pull, connect };
  const cases: [Filters, (keyof typeof all)[]][] = [
    [{}, ['start', 'exec', 'pull', 'connect']],
    [{ type: ['container'] }, ['start', 'exec']],
    [{ type: ['image', 'network'] }, ['pull', 'connect']],
    [{ event: ['start'] }, ['start']],
    [{ event: ['exec_create'] }, ['exec']],
    [{ event: ['exec_create: sh -c true'] }, ['exec']],
    [{ event: ['exec'] }, []],
    [{ container: ['web'] }, ['start', 'exec']],
    [{ container: ['abc'] }, ['start', 'exec']],
    [{ container: ['other', 'abcdef'], event: ['start'] }, ['start']],
    [{ network: ['bridge'] }, ['connect']],
    [{ image: ['team/app'] }, ['start', 'exec', 'pull']],
    [{ image: ['team/app:v1'], type: ['image'] }, ['pull']],
    [{ image: ['sha256:12'] }, ['pull']],
    [{ label: ['tier=one'] }, ['start', 'exec']],
    [{ label: ['tier=two'] }, []],
    [{ scope: ['swarm'] }, []],
  ];
  for (const [filters, want] of cases) {
    const isWanted = eventFilter(filters);
    const found = Object.entries(all).flatMap(([name, event]) => (isWanted(event) ? [name] : []));
    assert.deepEqual(found, want, JSON.stringify(filters));
  }
});
