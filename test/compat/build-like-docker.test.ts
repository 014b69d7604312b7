import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { busyboxImage, layerTar, pushImage } from '../support/images.ts';
import { becomeHost } from '../support/network-host.ts';
import { runOk } from '../support/processes.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temp.ts';
import { tool } from '../support/tools.ts';

/** The same Dockerfile by Docker's own daemon and by ours: the same config, history and files. */

const folder = temporaryFolder('like-docker');
const context = path.join(folder.path, 'context');
let daemon: TestDaemon;
let dockerd: Dockerd;
let registry: Registry;
let base: string;

before(async () => {
  becomeHost();
  registry = await startRegistry();
  await pushImage(registry, 'base', 'v1', await busyboxImage());
  base = `${registry.host}/base:v1`;
  dockerd = await startDockerd();
  daemon = await startDaemon();
  mkdirSync(path.join(context, 'tree/sub'), { recursive: true });
  writeFileSync(path.join(context, 'one'), '1', { mode: 0o640 });
  writeFileSync(path.join(context, 'two'), '2');
  chmodSync(path.join(context, 'two'), 0o6755);
  writeFileSync(path.join(context, 'tree/sub/file'), 'in a tree');
  symlinkSync('sub/file', path.join(context, 'tree/link'));
  const tar = await layerTar([{ name: 'packed/file', content: 'packed', uid: 7, gid: 8 }]);
  writeFileSync(path.join(context, 'packed.tgz'), gzipSync(tar));
  for (const name of ['one', 'two', 'tree/sub/file']) {
    utimesSync(path.join(context, name), 1_600_000_000, 1_600_000_000);
  }
});
after(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await dockerd?.[Symbol.asyncDispose]();
  await registry?.stop();
  folder[Symbol.dispose]();
});

const LINES = [
  '# escape=\\',
  'ARG FLAVOUR=plain',
  'FROM BASE AS first',
  'ARG FLAVOUR',
  'ENV A=1 B="two words" C=$FLAVOUR',
  'ENV OLD the old form',
  'WORKDIR /srv',
  'WORKDIR deep/er',
  'COPY one two ./',
  'COPY --chown=3:4 tree /srv/tree/',
  'COPY t* /glob/',
  'ADD packed.tgz /unpacked',
  'RUN mkdir -p /r/d && echo "$A $B $C" > /r/said && ln -s said /r/link && chmod 4711 /r/said',
  'RUN rm /srv/deep/er/one && rm -r /glob && mkdir /glob && chown 9:9 /r',
  'RUN true',
  'LABEL x="a b" y=$A',
  'EXPOSE 443/tcp 80',
  'VOLUME ["/data", "/more"]',
  'USER 5:6',
  'STOPSIGNAL SIGQUIT',
  'HEALTHCHECK --interval=5s --retries=3 CMD test -e /r/said',
  'SHELL ["/bin/sh", "-ec"]',
  'ONBUILD LABEL from=onbuild',
  'ENTRYPOINT ["/bin/echo", "entry"]',
  'CMD one "two"',
  'FROM BASE AS last',
  'MAINTAINER somebody',
  'COPY --from=first /r /from/r',
  'COPY --from=first --chown=1 /r/said /from/said',
  'USER nobody',
  'CMD echo shell form',
];

type Config = Readonly<Record<string, unknown>>;
type Step = {
  readonly created_by?: string;
  readonly empty_layer?: boolean;
  readonly author?: string;
};
type Made = {
  readonly config: Config;
  readonly architecture: string;
  readonly os: string;
  readonly author?: string;
  readonly history: readonly Step[];
  readonly rootfs: { readonly diff_ids: readonly string[] };
};

/** What an engine made of the Dockerfile. */
async function built(
  docker: (...args: string[]) => Promise<string>,
  name: string,
  target: string,
): Promise<{
  readonly said: string[];
  readonly made: Made;
  readonly files: Record<string, string>;
}> {
  const said = await docker(
    ...['build', '--network', 'none', '--label', 'added=later', '--build-arg', 'FLAVOUR=sweet'],
    ...['--target', target, '-t', name, context],
  );
  const archive = path.join(folder.path, 'saved.tar');
  await docker('save', '-o', archive, name);
  const members = await membersOf(readFileSync(archive));
  const [entry] = JSON.parse(members.get('manifest.json')?.content.toString() ?? '[]') as {
    Config: string;
  }[];
  const made = JSON.parse(members.get(entry?.Config ?? '')?.content.toString() ?? '') as Made;
  const id = (await docker('create', name, 'true')).trim();
  await docker('export', '-o', archive, id);
  await docker('rm', '-v', id);
  const files: Record<string, string> = {};
  for (const [file, { header, content }] of await membersOf(readFileSync(archive))) {
    const { uid, gid, mode = 0, type, linkname, mtime } = header;
    const sum = createHash('sha256').update(content).digest('hex').slice(0, 8);
    // Of what the build itself made the times differ.
    const time = (mtime?.getTime() ?? 0) < 1_700_000_000_001 ? mtime?.getTime() : 'now';
    const own = `${type} ${(mode & 0o7777).toString(8)} ${uid}:${gid} ${linkname ?? ''} ${sum} ${time}`;
    if (!/^(?:dev|proc|sys|etc\/(?:hosts|hostname|resolv\.conf|mtab)|\.dockerenv)/.test(file)) {
      files[file] = own;
    }
  }
  return { said: said.split('\n').map(withoutIds).filter(isStep), made, files };
}

const withoutIds = (line: string): string =>
  line.replace(/\b[0-9a-f]{12}\b/g, 'ID').replace(/(file|dir|multi):[0-9a-f]{64}/g, '$1:SUM');
/** We make no container for a step that runs nothing. */
const isStep = (line: string): boolean => /^Step|^Successfully|^# Executing/.test(line);

type Member = {
  readonly header: {
    readonly uid?: number;
    readonly gid?: number;
    readonly mode?: number;
    readonly type?: string | null;
    readonly linkname?: string | null;
    readonly mtime?: Date;
  };
  readonly content: Buffer;
};

async function membersOf(tar: Buffer): Promise<ReadonlyMap<string, Member>> {
  const reader = extract();
  const members = new Map<string, Member>();
  reader.end(tar);
  for await (const entry of reader) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) chunks.push(chunk as Uint8Array);
    members.set(entry.header.name, { header: entry.header, content: Buffer.concat(chunks) });
  }
  return members;
}

/** What an image's config says, without what no two builds have in common. */
function essence({ config, history, author, architecture, os, rootfs }: Made): object {
  const { Image: _parent, Hostname: _name, ...rest } = config;
  const isSaid = ([, value]: [string, unknown]): boolean =>
    !(value === null || value === '' || value === false) &&
    !(typeof value === 'object' && Object.keys(value).length === 0);
  const health = rest['Healthcheck'] as Config | null | undefined;
  return {
    ...{ author: author ?? '', architecture, os, layers: rootfs.diff_ids.length },
    config: Object.fromEntries(Object.entries(rest).filter(isSaid)),
    health: health ? [health['Test'], health['Interval'], health['Retries']] : [],
    history: history.map(({ created_by = '', empty_layer = false, author: who = '' }) => [
      withoutIds(created_by),
      empty_layer,
      who,
    ]),
  };
}

test('Docker and this engine make the same of a Dockerfile', async () => {
  writeFileSync(path.join(context, 'Dockerfile'), LINES.join('\n').replaceAll('BASE', base));
  const env = { DOCKER_HOST: daemon.host, DOCKER_CONFIG: folder.path, DOCKER_BUILDKIT: '0' };
  const ours = async (...args: string[]): Promise<string> =>
    await runOk(tool('docker'), args, { env });
  for (const target of ['first', 'last']) {
    const theirs = await built(dockerd.docker, 'same', target);
    const mine = await built(ours, 'same', target);
    assert.deepEqual(mine.said, theirs.said);
    const [left, right] = [essence(mine.made), essence(theirs.made)] as { config: Config }[];
    const { Healthcheck: _mine, ...config } = left?.config ?? {};
    const { Healthcheck: _theirs, ...expected } = right?.config ?? {};
    assert.deepEqual({ ...left, config }, { ...right, config: expected });
    assert.deepEqual(mine.files, theirs.files);
  }
});
