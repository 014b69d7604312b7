import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatHost, parseHost } from './host.ts';

test('hosts are read as Docker reads DOCKER_HOST', () => {
  assert.deepEqual(parseHost('unix:///run/coracle.sock'), {
    kind: 'unix',
    path: '/run/coracle.sock',
  });
  const tcp = (hostname: string, port: number) => ({ kind: 'tcp', hostname, port });
  assert.deepEqual(parseHost('tcp://10.0.0.2:2375'), tcp('10.0.0.2', 2375));
  assert.deepEqual(parseHost('tcp://device.local'), tcp('device.local', 2375));
  assert.deepEqual(parseHost('tcp://device.local', { tls: true }), tcp('device.local', 2376));
  assert.deepEqual(parseHost('tcp://[fd00::1]:99'), tcp('fd00::1', 99));
  assert.deepEqual(parseHost('tcp://:2375'), tcp('127.0.0.1', 2375));
  assert.deepEqual(parseHost('https://h/'), tcp('h', 2376));
  for (const text of ['unix:///a', 'tcp://h:1', 'tcp://[::1]:2']) {
    assert.equal(formatHost(parseHost(text)), text);
  }
});

test('what cannot be used is refused with the way out', () => {
  assert.throws(
    () => parseHost('ssh://me@device'),
    /ssh is not built in.*ssh -nNT -L .* me@device/,
  );
  assert.throws(() => parseHost('unix://'), /it has no path/);
  assert.throws(() => parseHost('npipe:////./pipe/docker'), /unable to parse docker host/);
  assert.throws(() => parseHost('/run/docker.sock'), /unable to parse docker host/);
  assert.throws(() => parseHost('tcp://a:b:c'), /want tcp:\/\/ADDRESS:PORT/);
  assert.throws(() => parseHost('tcp://a:99999'), /want tcp:\/\/ADDRESS:PORT/);
});
