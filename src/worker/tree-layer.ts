import path from 'node:path';
import { Writable } from 'node:stream';
import { type ByteString, fromText, toText } from '../formats/byte-string.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import type { StagedLayer } from '../store/layer-store.ts';
import { walkCopyDiff } from './copy-diff.ts';
import { LayerExtraction } from './layer-extraction.ts';
import { walkDiff } from './tree-diff.ts';
import { TreePacker } from './tree-pack.ts';
import type { TreeDiffInput } from './tree-protocol.ts';

/** The walk that finds a container's changes. */
export function diffWalkOf({ isCopy }: Pick<TreeDiffInput, 'isCopy'>): typeof walkDiff {
  return isCopy ? walkCopyDiff : walkDiff;
}

/** Writes the changes of a container as a layer's tar, with whiteouts as the OCI has them. */
export async function packDiff(
  sys: Syscalls,
  diff: TreeDiffInput,
  output: Writable,
  signal: AbortSignal,
): Promise<void> {
  const packer = new TreePacker(sys, output, { signal, users: diff.users });
  await diffWalkOf(diff)(sys, diff, {
    present: async ({ path: full, inMerged, name, isDirectory }) => {
      const as = full.slice(1) as ByteString;
      if (isDirectory) await packer.directory(inMerged, name, as);
      else await packer.entry(inMerged, name, as);
    },
    deleted: async (full) => {
      const text = toText(full.slice(1) as ByteString);
      const folder = path.posix.dirname(text);
      await packer.mark(fromText(path.posix.join(folder, `.wh.${path.posix.basename(text)}`)));
    },
    opaque: async (full) => await packer.mark(`${full.slice(1)}/.wh..wh..opq` as ByteString),
  });
  await packer.end();
}

/** The changes of a container as a staged layer in `directory`, which is made. */
export async function layerOfDiff(
  sys: Syscalls,
  diff: TreeDiffInput,
  options: { readonly directory: string; readonly signal: AbortSignal },
): Promise<StagedLayer> {
  const { directory, signal } = options;
  await using extraction = new LayerExtraction({
    ...{ sys, directory, expected: {}, origin: undefined },
  });
  await feed(
    async (chunk) => {
      extraction.received(chunk);
      extraction.push(chunk);
      if (extraction.isBehind) await extraction.catchUp();
    },
    (output) => packDiff(sys, diff, output, signal),
  );
  const {
    digest: _digest,
    sizeBytes: _size,
    compression: _none,
    ...layer
  } = await extraction.finish();
  return layer;
}

/** Runs `body`, each of whose chunks `take` gets. @throws what either throws, `take` first */
export async function feed(
  take: (chunk: Buffer) => Promise<void> | void,
  body: (output: Writable) => Promise<void>,
): Promise<void> {
  let failure: { readonly error: unknown } | undefined;
  const settle = async (chunk: Buffer, done: (error?: Error) => void): Promise<void> => {
    try {
      await take(chunk);
    } catch (error) {
      failure ??= { error };
      done(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    done();
  };
  const output = new Writable({
    write: (chunk: Buffer, _encoding, done) => void settle(chunk, done),
  });
  const closed = new Promise<void>((resolve) => void output.once('close', resolve));
  output.on('error', () => undefined); // `failure` has it
  try {
    await body(output);
  } catch (error) {
    throw failure === undefined ? error : failure.error;
  }
  output.end();
  await closed;
  if (failure !== undefined) throw failure.error;
}
