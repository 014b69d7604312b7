import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIp } from '../base/ip.ts';
import { candidates, collides, formatEndpoint, parsePortBindings, portMapOf } from './ports.ts';

function ip(text: string) {
  const parsed = parseIp(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

test('bindings are read with their ranges, addresses and protocols', () => {
  const wishes = parsePortBindings({
    '80/tcp': [
      { HostIp: '127.0.0.1', HostPort: '8000-8002' },
      { HostIp: '[::1]', HostPort: '' },
    ],
    '53/udp': [],
    '9/sctp': [{ HostIp: '', HostPort: '0' }],
  });
  assert.deepEqual(wishes, [
    {
      protocol: 'tcp',
      containerPort: 80,
      hostIp: ip('127.0.0.1'),
      hostPorts: { first: 8000, last: 8002 },
    },
    { protocol: 'tcp', containerPort: 80, hostIp: ip('::1'), hostPorts: undefined },
    { protocol: 'udp', containerPort: 53, hostIp: undefined, hostPorts: undefined },
    { protocol: 'sctp', containerPort: 9, hostIp: undefined, hostPorts: undefined },
  ]);
});

test('bindings that make no sense are refused', () => {
  const refuse = (key: string, binding: object, message: RegExp) =>
    assert.throws(
      () => parsePortBindings({ [key]: [{ HostIp: '', HostPort: '', ...binding }] }),
      message,
    );
  refuse('80/icmp', {}, /invalid proto: icmp/);
  refuse('0/tcp', {}, /invalid containerPort: 0/);
  refuse('65536/tcp', {}, /invalid containerPort: 65536/);
  refuse('80/tcp', { HostPort: '70000' }, /invalid hostPort: 70000/);
  refuse('80/tcp', { HostPort: '9-8' }, /invalid hostPort: 9-8/);
  refuse('80/tcp', { HostPort: 'x' }, /invalid hostPort: x/);
  refuse('80/tcp', { HostIp: '1.2.3' }, /invalid IP address: 1\.2\.3/);
});

test('every port of a range is tried once; ephemeral ones begin behind the last', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 500 }),
      fc.integer({ min: 0, max: 50 }),
      fc.integer({ min: 0, max: 600 }),
      (first, more, previous) => {
        const range = { first, last: first + more };
        const wish = parsePortBindings({ '1/tcp': [{ HostIp: '', HostPort: '' }] })[0];
        assert.ok(wish !== undefined);
        const tried = [...candidates(wish, { ...range, previous })];
        const all = Array.from({ length: more + 1 }, (_, i) => first + i);
        assert.deepEqual(
          tried.toSorted((a, b) => a - b),
          all,
        );
        const begins = previous >= first && previous < first + more ? previous + 1 : first;
        assert.equal(tried[0], begins);
        const ranged = [...candidates({ ...wish, hostPorts: range }, { ...range, previous })];
        assert.deepEqual(ranged, all);
      },
    ),
  );
});

test('an address collides with itself and with every address, within its family', () => {
  const at = (text: string, hostPort = 80) => ({
    protocol: 'tcp' as const,
    hostIp: ip(text),
    hostPort,
  });
  assert.ok(collides(at('0.0.0.0'), at('127.0.0.1')));
  assert.ok(collides(at('127.0.0.1'), at('127.0.0.1')));
  assert.ok(!collides(at('127.0.0.1'), at('127.0.0.2')));
  assert.ok(!collides(at('0.0.0.0'), at('::')));
  assert.ok(!collides(at('0.0.0.0'), at('0.0.0.0', 81)));
  assert.ok(!collides(at('0.0.0.0'), { ...at('0.0.0.0'), protocol: 'udp' }));
});

test('ports are shown as Docker shows them', () => {
  assert.equal(formatEndpoint(ip('::'), 80), '[::]:80');
  const port = { protocol: 'tcp' as const, containerPort: 80, hostPort: 8080 };
  assert.deepEqual(
    portMapOf([
      { ...port, hostIp: ip('0.0.0.0') },
      { ...port, hostIp: ip('::') },
    ]),
    {
      '80/tcp': [
        { HostIp: '0.0.0.0', HostPort: '8080' },
        { HostIp: '::', HostPort: '8080' },
      ],
    },
  );
});
