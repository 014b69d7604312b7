import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  choosePlatform,
  formatPlatform,
  hostPlatform,
  parsePlatform,
  platformRank,
} from './platform.ts';

const AMD64 = hostPlatform('x64');
const read = (text: string): string => formatPlatform(parsePlatform(text, AMD64));

test('platforms are read as containerd reads them', () => {
  assert.equal(read('linux/x86_64'), 'linux/amd64');
  assert.equal(read('aarch64'), 'linux/arm64');
  assert.equal(read('linux/arm64/v8'), 'linux/arm64');
  assert.equal(read('linux/arm'), 'linux/arm/v7');
  assert.equal(read('armel'), 'linux/arm/v6');
  assert.equal(read('linux/arm/6'), 'linux/arm/v6');
  assert.equal(read('linux'), 'linux/amd64');
  assert.equal(read('linux/constructor'), 'linux/constructor');
  for (const bad of ['', 'a/b/c/d', 'linux/', 'linux/arm 64']) {
    assert.throws(() => parsePlatform(bad, AMD64), { kind: 'invalidArgument' });
  }
});

test('a newer arm takes what was built for an older one, the nearest first', () => {
  const items = ['linux/arm/v5', 'linux/arm/v6', 'linux/arm/v7', 'linux/arm64', 'linux/amd64'];
  const choose = (host: string, from = items): string | undefined =>
    choosePlatform(from, (text) => parsePlatform(text, AMD64), parsePlatform(host, AMD64));
  assert.equal(choose('linux/arm/v7'), 'linux/arm/v7');
  assert.equal(choose('linux/arm/v6'), 'linux/arm/v6');
  assert.equal(choose('linux/arm64'), 'linux/arm64');
  assert.equal(choose('linux/arm64', ['linux/arm/v6', 'linux/arm/v7']), 'linux/arm/v7');
  assert.equal(choose('linux/arm/v6', ['linux/arm/v7']), undefined);
  assert.equal(choose('linux/386'), undefined);
  assert.equal(choose('linux/amd64', ['linux/arm64', 'linux/386']), 'linux/386');
  assert.equal(choose('linux/amd64', ['linux/386', 'linux/amd64']), 'linux/amd64');
  assert.equal(
    platformRank(parsePlatform('amd64', AMD64), parsePlatform('linux/amd64/v3', AMD64)),
    undefined,
  );
  assert.equal(platformRank(parsePlatform('linux/amd64/v3', AMD64), AMD64), 2);
});
