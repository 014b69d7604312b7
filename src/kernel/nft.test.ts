import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, test } from 'node:test';
import { temporaryFolder } from '../../test/support/temp.ts';
import { runNft } from './nft.ts';

const usual = process.env['PATH'];
afterEach(() => {
  process.env['PATH'] = usual;
});

/** An `nft` that says this and fails, as the real one does on a kernel that this machine has not. */
function nftSays(folder: string, words: string): void {
  writeFileSync(path.join(folder, 'nft'), `#!/bin/sh\necho '${words}' >&2\nexit 1\n`, {
    mode: 0o755,
  });
  process.env['PATH'] = `${folder}:${usual ?? ''}`;
}

test('a kernel without nftables is told of in one sentence, with what to do', async () => {
  using folder = temporaryFolder('nft');
  // The words of nft 1.0.6 on a kernel without NF_TABLES_INET, and on one without NF_TABLES.
  for (const words of [
    '/dev/stdin:1:1-32: Error: Could not process rule: Operation not supported',
    'netlink: Error: cache initialization failed: Protocol not supported',
  ]) {
    nftSays(folder.path, words);
    await assert.rejects(runNft('x'), /no nftables with NAT .*--iptables=false$/);
  }
  nftSays(folder.path, 'Error: syntax error');
  await assert.rejects(
    runNft('x'),
    /^EngineError: cannot write firewall rules: nft: Error: syntax error$/,
  );
});

test('without nft(8) its package is named', async () => {
  using folder = temporaryFolder('nft');
  process.env['PATH'] = folder.path;
  await assert.rejects(runNft('x'), /nft is not installed\. Install nftables/);
});
