/**
 * Extracts gzipped layers one after another, as a pull and a load do, without registry, client and
 * commit: their share of the work that `tar -xzf` does. A process of its own, as a worker is.
 *
 *   node bench/extract-layers.ts FOLDER LAYER...    prints the seconds
 */
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { gunzipSync } from 'node:zlib';
import { parseDiffId, parseDigest } from '../src/base/digest.ts';
import { openSyscalls } from '../src/kernel/ffi.ts';
import { extractLayer } from '../src/worker/extract.ts';
import { v8Flags } from '../src/worker/run.ts';

const [folder = '', ...layers] = process.argv.slice(2);
for (const flag of v8Flags('pull')) setFlagsFromString(flag);
const sys = openSyscalls();
for (const name of ['staging', 'layers', 'objects']) {
  mkdirSync(path.join(folder, name), { recursive: true });
}
const sha256 = (bytes: Buffer): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
// Manifest and config say what a layer must be before it comes.
const expected = layers.map((layer) => {
  const blob = readFileSync(layer);
  return { digest: parseDigest(sha256(blob)), diffId: parseDiffId(sha256(gunzipSync(blob))) };
});
const began = performance.now();
for (const [i, layer] of layers.entries()) {
  await extractLayer({
    sys,
    directory: path.join(folder, 'staging', String(i)),
    source: createReadStream(layer, { highWaterMark: 128 << 10 }),
    expected: expected[i] ?? {},
    origin: undefined,
    signal: AbortSignal.timeout(60_000),
  });
}
console.log((performance.now() - began) / 1e3);
