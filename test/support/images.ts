import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { runOk } from './processes.ts';
import { CHECKOUT, tool } from './tools.ts';

/** One entry of a layer, in order. */
export type LayerEntry = {
  readonly name: string;
  readonly type?: 'file' | 'directory' | 'symlink' | 'link' | 'character-device' | 'fifo';
  readonly content?: string | Uint8Array;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: Date;
  readonly linkname?: string;
  readonly devmajor?: number;
  readonly devminor?: number;
  /** PAX records, `SCHILY.xattr.user.x` for xattrs. */
  readonly pax?: Record<string, string>;
};

export type Compression = 'gzip' | 'zstd' | 'none';
export type MediaTypes = 'docker' | 'oci';

/** An image to push. */
export type ImageSpec = {
  /** Bottom first: entries, or the bytes of an uncompressed tar. */
  readonly layers: readonly (readonly LayerEntry[] | Uint8Array)[];
  /** One for all, or one for each layer; gzip. */
  readonly compression?: Compression | readonly Compression[];
  readonly mediaTypes?: MediaTypes;
  /** Fields of the image config's `config` (Cmd, Env …). */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly architecture?: string;
  readonly os?: string;
  readonly variant?: string;
  readonly created?: string;
};

export type Blob = { readonly digest: string; readonly bytes: Uint8Array };

/** An image as bytes. */
export type BuiltImage = {
  readonly manifest: Blob & { readonly mediaType: string };
  /** Its digest is the image's ID. */
  readonly config: Blob;
  readonly layers: readonly (Blob & { readonly diffId: string; readonly mediaType: string })[];
  readonly platform: { architecture: string; os: string; variant?: string };
};

const MEDIA = {
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
    zstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
    none: 'application/vnd.docker.image.rootfs.diff.tar',
  },
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
    zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
    none: 'application/vnd.oci.image.layer.v1.tar',
  },
} as const;

/** sha256 in Docker's spelling. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The architecture of this machine, in Docker's words. */
export const ARCHITECTURE =
  { x64: 'amd64', arm64: 'arm64', arm: 'arm', ia32: '386' }[process.arch as string] ?? process.arch;

/** The tar of some entries. */
export async function layerTar(entries: readonly LayerEntry[]): Promise<Uint8Array> {
  const archive = pack();
  const chunks: Uint8Array[] = [];
  const done = (async () => {
    for await (const chunk of archive) chunks.push(chunk as Uint8Array);
  })();
  for (const entry of entries) {
    const { content, mtime, ...header } = entry;
    const type = entry.type ?? 'file';
    const mode = entry.mode ?? (type === 'directory' ? 0o755 : 0o644);
    const time = mtime ?? new Date(1_700_000_000_000);
    const options = { ...header, type, mode, mtime: time };
    if (type === 'file') archive.entry(options, Buffer.from(content ?? ''));
    else archive.entry(options);
  }
  archive.finalize();
  await done;
  return Buffer.concat(chunks);
}

function compress(bytes: Uint8Array, how: Compression): Uint8Array {
  if (how === 'gzip') return gzipSync(bytes, { level: 6 });
  if (how === 'zstd') return zstdCompressSync(bytes);
  return bytes;
}

/** Makes an image's blobs and manifest. */
export async function buildImage(spec: ImageSpec): Promise<BuiltImage> {
  const media = MEDIA[spec.mediaTypes ?? 'oci'];
  const layers = await Promise.all(
    spec.layers.map(async (layer, i) => {
      const tar = layer instanceof Uint8Array ? layer : await layerTar(layer);
      const wanted = spec.compression ?? 'gzip';
      const how = typeof wanted === 'string' ? wanted : (wanted[i] ?? 'gzip');
      const bytes = compress(tar, how);
      return { digest: digestOf(bytes), bytes, diffId: digestOf(tar), mediaType: media[how] };
    }),
  );
  const platform = {
    architecture: spec.architecture ?? ARCHITECTURE,
    os: spec.os ?? 'linux',
    ...(spec.variant === undefined ? {} : { variant: spec.variant }),
  };
  const created = spec.created ?? '2024-01-01T00:00:00Z';
  const configBytes = json({
    ...platform,
    created,
    config: spec.config ?? {},
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((_, i) => ({ created, created_by: `layer ${i + 1}` })),
  });
  const config = { digest: digestOf(configBytes), bytes: configBytes };
  const manifestBytes = json({
    schemaVersion: 2,
    mediaType: media.manifest,
    config: { mediaType: media.config, size: config.bytes.length, digest: config.digest },
    layers: layers.map(({ mediaType, bytes, digest }) => ({
      mediaType,
      size: bytes.length,
      digest,
    })),
  });
  return {
    manifest: { digest: digestOf(manifestBytes), bytes: manifestBytes, mediaType: media.manifest },
    config,
    layers,
    platform,
  };
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

type Target = { readonly url: string; readonly authorization?: string };

async function request(to: Target, address: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  if (to.authorization !== undefined) headers.set('authorization', to.authorization);
  const answer = await fetch(new URL(address, to.url), { ...init, headers });
  if (!answer.ok && answer.status !== 404) {
    throw new Error(`${init.method} ${address}: ${answer.status} ${await answer.text()}`);
  }
  return answer;
}

/** Uploads a blob in one piece, unless it is there. Distribution spec, "Pushing blobs". */
export async function pushBlob(to: Target, repository: string, blob: Blob): Promise<void> {
  const there = await request(to, `/v2/${repository}/blobs/${blob.digest}`, { method: 'HEAD' });
  if (there.ok) return;
  const begun = await request(to, `/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  const location = new URL(begun.headers.get('location') ?? '', to.url);
  location.searchParams.set('digest', blob.digest);
  await request(to, location.href, {
    method: 'PUT',
    body: Buffer.from(blob.bytes),
    headers: { 'content-type': 'application/octet-stream' },
  });
}

/** Uploads a manifest under a tag or its digest. */
export async function pushManifest(
  to: Target,
  at: { repository: string; reference: string },
  manifest: { readonly bytes: Uint8Array; readonly mediaType: string },
): Promise<void> {
  const answer = await request(to, `/v2/${at.repository}/manifests/${at.reference}`, {
    method: 'PUT',
    body: Buffer.from(manifest.bytes),
    headers: { 'content-type': manifest.mediaType },
  });
  if (answer.status === 404) throw new Error(`no such repository: ${await answer.text()}`);
}

/** Pushes an image by plain HTTP; returns the digest of its manifest. */
export async function pushImage(
  to: Target,
  repository: string,
  tag: string,
  image: BuiltImage,
): Promise<string> {
  for (const blob of [image.config, ...image.layers]) await pushBlob(to, repository, blob);
  await pushManifest(to, { repository, reference: tag }, image.manifest);
  return image.manifest.digest;
}

/** Pushes several images under one tag, as an index by platform; returns the index's digest. */
export async function pushIndex(
  to: Target,
  at: { repository: string; tag: string },
  images: readonly BuiltImage[],
  mediaTypes: MediaTypes = 'oci',
): Promise<string> {
  for (const image of images) await pushImage(to, at.repository, image.manifest.digest, image);
  const bytes = json({
    schemaVersion: 2,
    mediaType: MEDIA[mediaTypes].index,
    manifests: images.map(({ manifest, platform }) => ({
      mediaType: manifest.mediaType,
      size: manifest.bytes.length,
      digest: manifest.digest,
      platform,
    })),
  });
  const manifest = { bytes, mediaType: MEDIA[mediaTypes].index };
  await pushManifest(to, { repository: at.repository, reference: at.tag }, manifest);
  return digestOf(bytes);
}

const BUSYBOX_COMMANDS = [
  ...['sh', 'ash', 'cat', 'chmod', 'chown', 'cp', 'cut', 'date', 'dd', 'df', 'du', 'echo', 'env'],
  ...['false', 'find', 'free', 'grep', 'head', 'hostname', 'id', 'ifconfig', 'ip', 'kill', 'ln'],
  ...['ls', 'md5sum', 'mkdir', 'mknod', 'mount', 'mv', 'nc', 'nslookup', 'ping', 'ps', 'pwd', 'rm'],
  ...[
    'readlink',
    'route',
    'sed',
    'seq',
    'sha256sum',
    'sleep',
    'sort',
    'stat',
    'stty',
    'su',
    'sync',
  ],
  ...['tail', 'tar', 'tee', 'test', 'time', 'top', 'touch', 'tr', 'true', 'tty', 'umount', 'uname'],
  ...['uptime', 'wc', 'wget', 'which', 'whoami', 'xargs', 'yes', 'httpd', 'ulimit', 'timeout'],
];

/** A small image with three layers and Debian's static busybox as its userland. */
export async function busyboxImage(
  more: Partial<ImageSpec> & { readonly extra?: readonly LayerEntry[] } = {},
): Promise<BuiltImage> {
  const { extra, ...spec } = more;
  const folders = ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'usr', 'usr/bin', 'var', 'var/log'];
  const base: LayerEntry[] = [
    ...folders.map((name) => ({ name, type: 'directory' as const })),
    { name: 'tmp', type: 'directory', mode: 0o1777 },
    { name: 'bin/busybox', content: readFileSync(busybox()), mode: 0o755 },
    ...BUSYBOX_COMMANDS.map((name) => ({
      name: `bin/${name}`,
      type: 'symlink' as const,
      linkname: 'busybox',
    })),
  ];
  const users: LayerEntry[] = [
    {
      name: 'etc/passwd',
      content:
        'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\nuser:x:1000:1000::/home/user:/bin/sh\n',
    },
    { name: 'etc/group', content: 'root:x:0:\ndaemon:x:1:\nuser:x:1000:\nextra:x:2000:user\n' },
    { name: 'home', type: 'directory' },
    { name: 'home/user', type: 'directory', uid: 1000, gid: 1000 },
  ];
  const notes: LayerEntry[] = [{ name: 'etc/motd', content: 'hello from a layer\n' }];
  return await buildImage({
    layers: [base, users, [...notes, ...(extra ?? [])]],
    ...spec,
    config: {
      Cmd: ['/bin/sh'],
      Env: ['PATH=/bin:/usr/bin'],
      ...spec.config,
    },
  });
}

function busybox(): string {
  return existsSync('/bin/busybox') ? '/bin/busybox' : tool('busybox');
}

/**
 * The tar of a minimal Debian (dash, coreutils, apt: 60 MB packed), made by debootstrap from the
 * machine's own mirror and cached in the checkout; the first call takes about half a minute.
 */
export async function debianRootfsTar(): Promise<Uint8Array> {
  const folder = path.join(CHECKOUT, '.cache/debian-rootfs');
  const file = path.join(folder, 'rootfs.tar');
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true });
    const suffix = `${process.pid}-${randomBytes(4).toString('hex')}`;
    const rootfs = path.join(folder, `rootfs-${suffix}`);
    const made = path.join(folder, `rootfs-${suffix}.tar`);
    try {
      await debootstrap(rootfs);
      await runOk('tar', [
        ...['--create', '--numeric-owner', '--one-file-system', '--sort=name'],
        ...['--exclude=./var/cache/apt/*', '--exclude=./var/lib/apt/lists/*', '--exclude=./dev/*'],
        ...['--file', made, '--directory', rootfs, '.'],
      ]);
      renameSync(made, file);
    } finally {
      rmSync(rootfs, { recursive: true, force: true });
      rmSync(made, { force: true });
    }
  }
  return readFileSync(file);
}

async function debootstrap(rootfs: string): Promise<void> {
  const release = readFileSync('/etc/os-release', 'utf8');
  const suite = /^VERSION_CODENAME=(.*)$/m.exec(release)?.[1] ?? 'stable';
  await runOk(tool('debootstrap'), ['--variant=minbase', suite, rootfs, ...mirror()], {
    timeoutMs: 600_000,
  });
}

/** The mirror that this machine's apt uses; none when it cannot be told. */
function mirror(): string[] {
  for (const file of ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list']) {
    if (!existsSync(file)) continue;
    const text = readFileSync(file, 'utf8');
    const found = /^(?:URIs:|deb (?:\[[^\]]*\] )?)\s*(\S+)/m.exec(text)?.[1];
    if (found !== undefined) return [found];
  }
  return [];
}

/** A Debian image of two layers: the system, and a greeting on top. */
export async function debianImage(spec: Partial<ImageSpec> = {}): Promise<BuiltImage> {
  return await buildImage({
    layers: [
      await debianRootfsTar(),
      [{ name: 'etc/motd', content: 'Debian in a container made from its own packages.\n' }],
    ],
    ...spec,
    config: {
      Cmd: ['bash'],
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      ...spec.config,
    },
  });
}
