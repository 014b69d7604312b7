import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isEngineError } from '../src/base/errors.ts';
import { type ByteString, byteString } from '../src/formats/byte-string.ts';
import { checksums } from '../src/formats/tar-header.ts';
import { encodeTarHeader, TAR_END, tarPadding } from '../src/formats/tar-writer.ts';
import { openSyscalls } from '../src/kernel/ffi.ts';
import { removeTree } from '../src/kernel/remove-tree.ts';
import type { Syscalls } from '../src/kernel/syscalls.ts';
import { layerTar } from '../src/store/layers/layer-tar.ts';
import { extractLayer } from '../src/worker/extract.ts';
import { treeOf } from '../test/support/layer-samples.ts';

/**
 * Hostile layers: tars of entries that fight over the same few names, links and whiteouts, with
 * bytes changed afterwards, extracted into a tmpfs beside files that must not change. Each either
 * comes out, and then its exact tar comes back, or is refused with one error of the engine's; and
 * what comes of it is the same whether a thread of its own makes the files or not.
 */
export type LayerFuzz = AsyncDisposable & {
  /** Runs one case; says whether it came out. Throws when a property does not hold. */
  readonly run: (seed: number) => Promise<boolean>;
};

/** A small generator with a seed (xorshift32), so that a failure can be repeated. */
export function randomOf(seed: number): (below: number) => number {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

const NAMES = [
  'a',
  'b',
  'c',
  'a/b',
  'a/b/c',
  'b/a',
  'l',
  'l/x',
  './a/',
  '/a',
  'l/canary',
  'canary',
].concat([
  '.wh.a',
  'a/.wh.b',
  '.wh..wh..opq',
  'a/.wh..wh..opq',
  '.wh..wh.x',
  'caf\xe9',
  'b/a/c',
  'x/y/z',
]);
/** Names that are refused, or nearly: taken seldom, so that most layers get further. */
const ODD_NAMES = [
  '',
  '.',
  '..',
  '../x',
  'a/../../x',
  '.wh.',
  '../canary',
  'proc/self/root',
].concat(['n'.repeat(256), 'd/'.repeat(1100), 'd/'.repeat(900)]);
const TARGETS = [
  'a',
  'b',
  '/',
  '/a',
  '..',
  '../..',
  '../../canary',
  '/proc/self/root',
  'l',
  '',
  '.',
];
const KINDS = ['file', 'file', 'directory', 'symlink', 'hardlink', 'char', 'fifo'] as const;

function layer(random: (below: number) => number): Buffer {
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  const parts: Buffer[] = [];
  for (let n = random(10) + 1; n > 0; n -= 1) {
    const kind = pick(KINDS);
    const content = Buffer.alloc(
      kind === 'file' ? pick([0, 1, 511, 512, 5000]) : 0,
      65 + random(26),
    );
    const name = pick(random(40) === 0 ? ODD_NAMES : NAMES) as ByteString;
    const header = encodeTarHeader({
      kind,
      path: name,
      link: byteString(Buffer.from(pick(random(3) === 0 ? TARGETS : NAMES), 'latin1')),
      mode: random(0o10000),
      uid: pick([0, 1000, 70_000]),
      sizeBytes: content.length,
      mtime: { sec: random(2 ** 31) - random(2 ** 20), nsec: pick([0, 5]) },
      major: random(3),
      minor: random(3),
      xattrs: pick([[], [{ name: pick(['user.x', 'trusted.overlay.opaque']), value: content }]]),
    });
    parts.push(header, content, tarPadding(content.length));
  }
  parts.push(TAR_END);
  return Buffer.concat(parts);
}

/** Changes some bytes; half the time the checksums are made right again, so that it goes deeper. */
function mutate(tar: Buffer, random: (below: number) => number): Buffer {
  const bytes = Buffer.from(tar);
  for (let n = Math.max(0, random(8) - 4); n > 0; n -= 1) {
    const at = random(bytes.length);
    const block = at - (at % 512);
    bytes[at] = random(4) === 0 ? 0 : random(256);
    const isHeader = bytes.toString('latin1', block + 257, block + 262) === 'ustar';
    if (!isHeader || random(4) === 0) continue;
    const header = bytes.subarray(block, block + 512);
    header.write(`${checksums(header).unsigned.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  }
  return random(8) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
}

async function* chunks(bytes: Buffer, random: (below: number) => number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const n = random(1500) + 1;
    yield bytes.subarray(at, at + n);
    at += n;
  }
}

/** Everything around the layer, so that a change shows. */
function surroundings(folder: string): string {
  const of = (name: string): string => {
    const stats = lstatSync(path.join(folder, name));
    return `${name} ${stats.mode} ${stats.uid} ${stats.size} ${stats.mtimeMs}`;
  };
  const names = readdirSync(folder).filter((name) => name !== 'work');
  return `${names.map(of).join('\n')} ${readFileSync(path.join(folder, 'canary'), 'utf8')}`;
}

/** What came of a layer: its diffID or the error's words, and what it is on the disk. */
type Outcome = {
  readonly isWhole: boolean;
  readonly told: string;
  readonly tree: Record<string, unknown>;
};

/** The tree without the times of directories that no entry speaks of: these are as they were made. */
function timeless(sys: Syscalls, directory: string, began: bigint): Record<string, unknown> {
  const tree = treeOf(sys, path.join(directory, 'diff'));
  for (const [name, node] of Object.entries(tree)) {
    const { mtime } = node as { readonly mtime: bigint };
    if (mtime >= began) tree[name] = { ...(node as object), mtime: 'now' };
  }
  return tree;
}

/** Mounts a tmpfs and puts the canaries in. Needs root. */
export function openLayerFuzz(): LayerFuzz {
  const sys = openSyscalls();
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-fuzz-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', folder]);
  writeFileSync(path.join(folder, 'canary'), 'alive');
  mkdirSync(path.join(folder, 'work'));
  writeFileSync(path.join(folder, 'work/canary'), 'alive');
  const before = surroundings(folder);
  const canary = path.join(folder, 'work/canary');
  const runBy = async (seed: number, withoutThread: boolean): Promise<Outcome> => {
    const random = randomOf(seed);
    const directory = path.join(folder, 'work/layer');
    const bytes = mutate(layer(random), random);
    const began = BigInt(Date.now() - 1000) * 1_000_000n;
    let outcome: Outcome | undefined;
    try {
      const options = { sys, directory, expected: {}, origin: undefined, withoutThread };
      const signal = new AbortController().signal;
      const made = await extractLayer({ ...options, source: chunks(bytes, random), signal });
      outcome = { isWhole: true, told: made.diffId, tree: timeless(sys, directory, began) };
      const back = Buffer.concat([...layerTar({ sys, ...made })]);
      assert.ok(back.equals(bytes), 'the exact tar comes back');
    } catch (error) {
      if (!isEngineError(error) || error.kind === 'canceled') throw error;
      assert.equal(outcome, undefined, `what came out is whole: ${error.message}`);
      assert.match(error.message, /^[^\n]{5,6000}$/);
      outcome = { isWhole: false, told: error.message, tree: {} };
    }
    assert.equal(surroundings(folder), before, 'nothing around the layer changed');
    assert.equal(readFileSync(canary, 'utf8'), 'alive');
    assert.deepEqual(readdirSync(path.join(folder, 'work')).sort(), ['canary', 'layer']);
    await removeTree(sys, directory);
    return outcome;
  };
  const run = async (seed: number): Promise<boolean> => {
    const outcome = await runBy(seed, false);
    assert.deepEqual(outcome, await runBy(seed, true), 'both ways make the same');
    return outcome.isWhole;
  };
  return {
    run,
    [Symbol.asyncDispose]: async () => {
      execFileSync('umount', [folder]);
      rmdirSync(folder);
    },
  };
}
