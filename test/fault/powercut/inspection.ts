import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isDeepStrictEqual } from 'node:util';
import { extract } from 'tar-stream';
import { errnoOf } from '../../../src/base/errors.ts';
import { decodeLayerContents } from '../../../src/formats/layer-contents.ts';
import { objectPlace, parseObjectPlace } from '../../../src/store/layers/object-place.ts';
import type { TestDaemon } from '../../support/daemon.ts';
import { digestOf } from '../../support/images.ts';
import { eventually } from '../../support/processes.ts';
import { SOME_ID, type World } from './world.ts';

/** What the daemon says exists. */
export async function worldOf(daemon: TestDaemon): Promise<World> {
  const images = (await daemon.json('GET', '/images/json')) as {
    Id: string;
    RepoTags: string[];
  }[];
  const containers = (await daemon.json('GET', '/containers/json?all=true')) as {
    Names: string[];
    ImageID: string;
  }[];
  const { Volumes } = (await daemon.json('GET', '/volumes')) as {
    Volumes: { Name: string }[] | null;
  };
  const networks = (await daemon.json('GET', '/networks')) as { Name: string }[];
  return new Map([
    ...images.flatMap(({ Id, RepoTags }) =>
      RepoTags.map((tag): [string, string] => [`image ${tag}`, Id]),
    ),
    ...containers.map(({ Names, ImageID }): [string, string] => [
      `container ${(Names[0] ?? '').slice(1)}`,
      ImageID,
    ]),
    ...(Volumes ?? []).map(({ Name }): [string, string] => [`volume ${Name}`, '']),
    ...networks
      .filter(({ Name }) => !['bridge', 'host', 'none'].includes(Name))
      .map(({ Name }): [string, string] => [`network ${Name}`, '']),
  ]);
}

/** Each name is as it was before or as the operation makes it; after one that was answered, the latter. */
export function assertBeforeOrAfter(
  actual: World,
  expected: { readonly before: World; readonly after: World; readonly isDone: boolean },
): void {
  const { before, after, isDone } = expected;
  for (const key of new Set([...before.keys(), ...after.keys(), ...actual.keys()])) {
    const allowed = isDone ? [after.get(key)] : [before.get(key), after.get(key)];
    const isSome = actual.has(key) && allowed.includes(SOME_ID);
    assert(
      isSome || allowed.includes(actual.get(key)),
      `${key} is ${actual.get(key) ?? 'absent'}; allowed: ${allowed.map((each) => each ?? 'absent').join(' or ')}`,
    );
  }
}

/** Every image has every byte: config and layers are made again and hashed. */
export async function assertImagesWhole(daemon: TestDaemon): Promise<void> {
  const images = (await daemon.json('GET', '/images/json?all=true')) as { Id: string }[];
  for (const { Id } of images) {
    const answer = await daemon.api('GET', `/images/${Id}/get`);
    assert.equal(answer.status, 200, `${Id}: ${answer.text.slice(0, 300)}`);
    const members = await hashesOf(answer.bytes);
    const config = members.find(({ digest }) => digest === Id);
    assert(config, `the archive of ${Id} has no config of this digest`);
    const { rootfs } = JSON.parse(config.bytes.toString()) as { rootfs: { diff_ids: string[] } };
    const digests = new Set(members.map(({ digest }) => digest));
    for (const diffId of rootfs.diff_ids) assert(digests.has(diffId), `${Id} lacks ${diffId}`);
  }
}

async function hashesOf(archive: Buffer): Promise<{ digest: string; bytes: Buffer }[]> {
  const reader = extract();
  const members: { digest: string; bytes: Buffer }[] = [];
  reader.end(archive);
  for await (const entry of reader) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) chunks.push(chunk as Uint8Array);
    const bytes = Buffer.concat(chunks);
    members.push({ digest: digestOf(bytes), bytes });
  }
  return members;
}

/** Every container starts and ends well. */
export async function assertContainersStart(daemon: TestDaemon): Promise<void> {
  const containers = (await daemon.json('GET', '/containers/json?all=true')) as { Id: string }[];
  for (const { Id } of containers) {
    await daemon.json('POST', `/containers/${Id}/start`);
    const { StatusCode } = (await daemon.json('POST', `/containers/${Id}/wait`)) as {
      StatusCode: number;
    };
    assert.equal(StatusCode, 0, `container ${Id} exited with ${StatusCode}`);
  }
}

/** Where each content that layers share lies on the disk. */
function sharedContents(daemon: TestDaemon): Set<string> {
  const folder = path.join(daemon.dataRoot, 'objects');
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return new Set(names.filter((name) => parseObjectPlace(name) !== undefined));
}

/** The same, as layers list it: each of them has it, for itself or of another. */
function listedContents(daemon: TestDaemon): Set<string> {
  const layers = path.join(daemon.dataRoot, 'layers');
  const listed = new Set<string>();
  for (const dir of readdirSync(layers)) {
    const file = path.join(layers, dir, 'contents');
    if (!existsSync(file)) continue;
    const contents = decodeLayerContents(readFileSync(file));
    for (let i = 0; i < contents.count; i += 1) {
      const { group, number } = contents.at(i);
      listed.add(objectPlace({ group: group || dir, number }));
    }
  }
  return listed;
}

function compare(
  there: ReadonlySet<string>,
  listed: ReadonlySet<string>,
): { missing: string[]; unlisted: string[] } {
  return {
    missing: [...listed].filter((each) => !there.has(each)),
    unlisted: [...there].filter((each) => !listed.has(each)),
  };
}

/** What lies on the disk is what has a row, and nothing else. */
export async function assertNothingUnlisted(daemon: TestDaemon): Promise<void> {
  const at = (folder: string): string[] => {
    const full = path.join(daemon.dataRoot, folder);
    return existsSync(full) ? readdirSync(full).sort() : [];
  };
  await eventually(() => at('staging').length === 0).catch((cause: unknown) => {
    throw new Error(`staging still holds ${at('staging').join(' ')}`, { cause });
  });
  const db = new DatabaseSync(path.join(daemon.dataRoot, 'coracle.db'), { readOnly: true });
  try {
    const column = (sql: string): string[] =>
      db
        .prepare(sql)
        .all()
        .map((row) => String(Object.values(row)[0]))
        .sort();
    assert.deepEqual(at('layers'), column('SELECT dir FROM layers'));
    // What nobody lists any more goes in the background, also while it is looked through.
    const equal = { missing: [], unlisted: [] };
    let known: unknown;
    await eventually(async () => {
      try {
        known = compare(sharedContents(daemon), listedContents(daemon));
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
        known = error;
      }
      return isDeepStrictEqual(known, equal);
    }).catch(() => undefined);
    assert.deepEqual(known, equal);
    assert.deepEqual(at('containers'), column('SELECT id FROM containers'));
    assert.deepEqual(at('volumes'), column('SELECT name FROM volumes'));
  } finally {
    db.close();
  }
}
