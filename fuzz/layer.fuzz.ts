import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLayerFuzz } from './layer.ts';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 10);
const first = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000_000);

test(`hostile layers, from seed ${first}`, async () => {
  await using fuzz = openLayerFuzz();
  const endMs = Date.now() + seconds * 1000;
  let cases = 0;
  let whole = 0;
  for (; Date.now() < endMs; cases += 1) {
    try {
      if (await fuzz.run(first + cases)) whole += 1;
    } catch (cause) {
      throw new Error(`seed ${first + cases} fails: repeat with FUZZ_SEED`, { cause });
    }
  }
  assert.ok(whole > 0 && whole < cases, `${whole} of ${cases} came out: nothing was tried`);
});
