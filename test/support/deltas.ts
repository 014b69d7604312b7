import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { type BuiltImage, buildImage, busyboxImage, digestOf, layerTar } from './images.ts';
import { CHECKOUT } from './tools.ts';

const FOLDER = path.join(CHECKOUT, '../shared/vectors/balena-delta');

/** IDs of the images that the vectors are about. */
export const VECTOR_IDS = {
  old: 'sha256:b28dfe5391344d83454d05cad550e8241abb4998c251bcdce3297c7f3df7a37a',
  new: 'sha256:ea8b257e45c8e78c637e8de07c2afacbb8cd54228e386ffcf1b03396819db7bf',
} as const;

/** True when the archives that balenaEngine made are beside the checkout. */
export const HAS_VECTORS = existsSync(FOLDER);

/** An archive that balenaEngine made. */
export function vector(name: string): Buffer {
  return readFileSync(path.join(FOLDER, name));
}

/** The files of a tar, by name. */
export async function membersOf(tar: Uint8Array): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  const parser = extract();
  parser.end(tar);
  for await (const entry of parser) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    found.set(entry.header.name, Buffer.concat(chunks));
  }
  return found;
}

/** One image of an archive. */
export type UnpackedImage = {
  readonly config: {
    readonly config: { readonly Labels: Readonly<Record<string, string>> };
    readonly rootfs: { readonly diff_ids: readonly string[] };
  };
  readonly tags: readonly string[];
  /** Bottom first. */
  readonly layers: readonly Buffer[];
};

/** The images of a `save` archive, by what its manifest.json says. */
export async function imagesOf(archive: Uint8Array): Promise<UnpackedImage[]> {
  const files = await membersOf(archive);
  const get = (name: string): Buffer => {
    const file = files.get(name);
    if (file === undefined) throw new Error(`the archive has no ${name}`);
    return file;
  };
  const manifest = JSON.parse(String(get('manifest.json'))) as {
    Config: string;
    RepoTags: string[] | null;
    Layers: string[];
  }[];
  return manifest.map(({ Config, RepoTags, Layers }) => ({
    config: JSON.parse(String(get(Config))) as UnpackedImage['config'],
    tags: RepoTags ?? [],
    layers: Layers.map(get),
  }));
}

/** Bytes that no codec makes smaller; the same for the same seed. */
export function noise(seed: string, bytes: number): Buffer {
  return createHash('shake256', { outputLength: bytes }).update(seed).digest();
}

/**
 * Two versions of an application on busybox: the bottom layer is the same, in the next some bytes
 * come, go and change, the last is only in the new one.
 */
export async function applicationPair(
  options: {
    readonly newBytes?: number;
    /** What is new comes before what is copied from the base, which is needed to the end then. */
    readonly isNewFirst?: boolean;
  } = {},
): Promise<{ readonly base: BuiltImage; readonly target: BuiltImage }> {
  const busybox = (await busyboxImage()).layers[0]?.bytes ?? Buffer.alloc(0);
  const common = gunzipSync(busybox);
  const content = noise('content', 400_000);
  const config = { Cmd: ['/bin/sh'], Env: ['PATH=/bin'] };
  const base = await buildImage({
    layers: [
      common,
      [
        { name: 'app', type: 'directory' },
        { name: 'app/data', content },
        { name: 'app/gone', content: 'gone' },
        { name: 'version', content: '1\n' },
      ],
    ],
    config,
  });
  const changed = Buffer.concat([content.subarray(0, 100_000), Buffer.from('new'), content]);
  const fresh = { name: 'app/fresh', content: noise('fresh', options.newBytes ?? 1000) };
  const target = await buildImage({
    layers: [
      common,
      [
        { name: 'app', type: 'directory' },
        { name: 'app/data', content: changed, mode: 0o600 },
        { name: 'version', content: '2\n' },
      ],
      [
        { name: 'app/.wh.gone', content: '' },
        ...(options.isNewFirst === true ? [fresh] : []),
        { name: 'app/zeros', content: Buffer.alloc(50_000) },
        { name: 'app/copy', content: content.subarray(1000, 200_000) },
        { name: 'app/link', type: 'link', linkname: 'app/copy' },
        ...(options.isNewFirst === true ? [] : [fresh]),
      ],
    ],
    config: { ...config, Labels: { note: '<new> & "better"' } },
  });
  return { base, target };
}

/** An archive of one image, as `docker save` wrote it before version 25. */
export async function archiveOf(
  config: string,
  layers: readonly Uint8Array[],
  tag: string,
): Promise<Uint8Array> {
  const files = layers.map((content, i) => ({ name: `${i}/layer.tar`, content }));
  const manifest = [{ Config: 'config.json', RepoTags: [tag], Layers: files.map((f) => f.name) }];
  return await layerTar([
    ...files,
    { name: 'config.json', content: config },
    { name: 'manifest.json', content: JSON.stringify(manifest) },
  ]);
}

/** A config of so many layers as an image has. */
export function configOf(
  layers: readonly Uint8Array[],
  labels: Readonly<Record<string, string>> = {},
): string {
  return JSON.stringify({
    config: { Labels: labels },
    rootfs: { type: 'layers', diff_ids: layers.map(digestOf) },
  });
}
