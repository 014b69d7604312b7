import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Authority } from '../support/certificates.ts';
import { run } from '../support/processes.ts';

const BUNDLE = '/etc/ssl/certs/ca-certificates.crt';
const DOWNLOAD = `
  const { download } = await import(process.argv[1]);
  const pieces = await download(process.argv[2], AbortSignal.timeout(10_000));
  for await (const piece of pieces) process.stdout.write(piece);
`;
const MODULE = path.join(import.meta.dirname, '../../src/worker/url-download.ts');

/** Downloads with the options of a worker, on a machine that knows the authorities in a file. */
async function download(url: string, authorities: string) {
  const script = `mount --bind "$0" ${BUNDLE} && exec "$@"`;
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', '--use-openssl-ca'];
  const command = [...node, '--input-type=module', '--eval', DOWNLOAD, MODULE, url];
  return await run('unshare', ['--mount', 'sh', '-c', script, authorities, ...command]);
}

test('a download by https trusts the authorities of the machine, and nobody else', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-test-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const authority = new Authority(folder);
  const known = path.join(folder, 'known.crt');
  writeFileSync(known, authority.cert);
  const server = createServer(authority.issue('server', 'IP:127.0.0.1'), (_, response) => {
    response.end('what was asked for');
  });
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;

  const trusted = await download(url, known);
  assert.equal(trusted.stdout, 'what was asked for', trusted.stderr);
  const refused = await download(url, BUNDLE);
  assert.match(refused.stderr, /cannot download https:\S+: unable to verify the first certificate/);
});
