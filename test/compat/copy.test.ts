import assert from 'node:assert/strict';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { clientCommand } from '../support/daemon.ts';
import { type DockerCli, docker, dockerClis, hasOurWords } from '../support/docker-cli.ts';
import { type Outcome, run } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/**
 * `cp` by the unmodified docker clients and by our own, from the same start to the same end: the
 * same trees, the same exit codes, the same words.
 */

/** A tree as lines: kind, mode, content or target, path. */
function treeOf(folder: string, below = ''): string[] {
  return readdirSync(path.join(folder, below))
    .sort()
    .flatMap((name) => {
      const inside = path.join(below, name);
      const place = path.join(folder, inside);
      const stats = lstatSync(place);
      const mode = (stats.mode & 0o7777).toString(8);
      if (stats.isSymbolicLink()) return [`l ${inside} -> ${readlinkSync(place)}`];
      if (stats.isDirectory()) return [`d ${mode} ${inside}`, ...treeOf(folder, inside)];
      return [`f ${mode} ${stats.mtimeMs} ${inside}: ${readFileSync(place, 'utf8')}`];
    });
}

/** What there is here before each copy. */
function makeLocal(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(path.join(folder, 'tree/sub'), { recursive: true });
  mkdirSync(path.join(folder, 'empty'));
  writeFileSync(path.join(folder, 'tree/a'), 'A', { mode: 0o640 });
  writeFileSync(path.join(folder, 'tree/sub/b'), 'B');
  writeFileSync(path.join(folder, 'file'), 'a file');
  writeFileSync(path.join(folder, 'names with ümlaut'), 'ü');
  symlinkSync('a', path.join(folder, 'tree/link'));
  symlinkSync('tree', path.join(folder, 'to-tree'));
  symlinkSync('file', path.join(folder, 'to-file'));
  symlinkSync('/nowhere', path.join(folder, 'dangling'));
  for (const file of ['tree/a', 'tree/sub/b', 'file', 'names with ümlaut']) {
    utimesSync(path.join(folder, file), 1_600_000_000, 1_600_000_001);
  }
}

/** What there is in the container before each copy, made by its shell. */
const IN_CONTAINER = [
  'rm -rf /w /etc/copied /data/* /scratch/*; mkdir -p /w/tree/sub /w/empty /data/v /scratch/t; cd /w',
  'echo A >tree/a; echo B >tree/sub/b; echo file >file; chmod 600 file',
  'ln -s a tree/link; ln -s tree to-tree; ln -s file to-file; ln -s /etc abs; ln -s /nowhere dangling',
  'ln -s ../../../../etc up; mkfifo pipe; echo v >/data/v/f; echo t >/scratch/t/f',
  'touch -d @1600000000 file tree/a tree/sub/b /data/v/f /scratch/t/f',
].join('\n');

type Case = readonly [from: string, to: string, ...flags: string[]];

/** `CC:` stands for the container: theirs and ours have one each. */
const OUT: readonly Case[] = [
  ['CC:/w/file', 'new'],
  ['CC:/w/file', 'file'],
  ['CC:/w/file', 'empty'],
  ['CC:/w/file', 'empty/'],
  ['CC:/w/file', 'missing/'],
  ['CC:/w/file', 'missing/new'],
  ['CC:/w/file', 'tree'],
  ['CC:/w/tree', 'new'],
  ['CC:/w/tree', 'empty'],
  ['CC:/w/tree', '.'],
  ['CC:/w/tree/.', 'empty'],
  ['CC:/w/tree/.', 'new'],
  ['CC:/w/tree/', 'empty'],
  ['CC:/w/tree', 'file'],
  ['CC:w/tree/a', 'empty/renamed'],
  ['CC:/w/to-file', 'empty'],
  ['CC:/w/to-file', 'empty', '-L'],
  ['CC:/w/to-tree', 'empty'],
  ['CC:/w/to-tree', 'empty', '-L'],
  ['CC:/w/to-tree/', 'empty'],
  ['CC:/w/to-tree/.', 'empty'],
  ['CC:/w/to-tree/sub', 'empty'],
  ['CC:/w/dangling', 'empty'],
  ['CC:/w/abs/passwd', 'empty'],
  ['CC:/w/up/passwd', 'empty'],
  ['CC:/w/../../../etc/passwd', 'empty'],
  ['CC:/data/v', 'empty'],
  ['CC:/scratch/t', 'empty'],
  ['CC:/nope', 'empty'],
  ['CC:/w/file/', 'empty'],
  ['CC:/w/file/x', 'empty'],
  ['CC:/w/file', 'to-tree'],
  ['CC:/w/file', 'to-file'],
  ['CC:/w/tree', '-'],
  ['nobody:/w', 'empty'],
];

const IN: readonly Case[] = [
  ['file', 'CC:/w/new'],
  ['file', 'CC:/w/file'],
  ['file', 'CC:/w/empty'],
  ['file', 'CC:/w/empty/'],
  ['file', 'CC:/w/missing/'],
  ['file', 'CC:/w/missing/new'],
  ['file', 'CC:/w/tree'],
  ['names with ümlaut', 'CC:/w/empty'],
  ['tree', 'CC:/w/new'],
  ['tree', 'CC:/w/empty'],
  ['tree', 'CC:/w'],
  ['tree/.', 'CC:/w/empty'],
  ['tree/.', 'CC:/w/new'],
  ['tree/', 'CC:/w/empty'],
  ['tree', 'CC:/w/file'],
  ['to-file', 'CC:/w/empty'],
  ['to-file', 'CC:/w/empty', '-L'],
  ['to-tree', 'CC:/w/empty'],
  ['to-tree', 'CC:/w/empty', '-L'],
  ['to-tree/', 'CC:/w/empty'],
  ['dangling', 'CC:/w/empty'],
  ['file', 'CC:/w/to-file'],
  ['file', 'CC:/w/to-tree'],
  ['file', 'CC:/w/to-tree/'],
  ['file', 'CC:/w/abs/copied'],
  ['file', 'CC:/w/up/copied'],
  ['file', 'CC:/w/dangling'],
  ['file', 'CC:/w/pipe'],
  ['file', 'CC:/data/v/g'],
  ['tree', 'CC:/data/v'],
  ['file', 'CC:/scratch/t/g'],
  ['file', 'CC:/w/empty', '-a'],
  ['nope', 'CC:/w/empty'],
  ['file/', 'CC:/w/empty'],
  ['file', 'nobody:/w'],
  ['file', 'file'],
  ['CC:/w/file', 'CC:/w/new'],
];

/** Kinds, modes, owners, times of all of the container's own places. */
const SHOW =
  "find /w /data /scratch /etc/copied ! -type l -exec stat -c '%n %F %a %u:%g %Y' {} + 2>/dev/null | sed -E '/ (directory|fifo) /s/ [0-9]*$//' | sort; find /w -type l -exec readlink {} + | sort; find /w /data /scratch /etc/copied -type f -exec cat {} + 2>/dev/null | sort";

suite('cp', () => {
  let box: Box;
  let clis: readonly DockerCli[];

  before(async () => {
    box = await openBox();
    clis = await dockerClis();
  });
  after(() => box[Symbol.asyncDispose]());

  /** A shell in a new container of that name, entered as cheaply as can be: it runs 300 times. */
  async function withContainer<T>(
    name: string,
    body: (shell: (script: string) => Promise<string>) => Promise<T>,
  ): Promise<T> {
    const HostConfig = { Binds: ['/data'], Tmpfs: { '/scratch': '' } };
    const id = await box.up({ Cmd: ['sleep', '600'], HostConfig }, name);
    const { Pid } = (await box.inspect(id)).State;
    const enter = ['--target', `${Pid}`, '--mount', '--root', '--wd=/', 'sh', '-c'];
    const env = { PATH: `${process.env['PATH']}:/bin` };
    try {
      return await body(
        async (script) => (await run('nsenter', [...enter, script], { env })).stdout,
      );
    } finally {
      await box.remove(id);
    }
  }

  type Result = { readonly outcome: Outcome; readonly tree: string };

  async function copies(
    cases: readonly Case[],
    container: string,
    cp: (args: readonly string[], cwd: string) => Promise<Outcome>,
  ): Promise<Result[]> {
    using work = temporaryFolder('copy');
    const results: Result[] = [];
    await withContainer(container, async (shell) => {
      for (const [from, to, ...flags] of cases) {
        makeLocal(work.path);
        await shell(IN_CONTAINER);
        const ends = [from, to].map((end) => end.replace(/^CC:/, `${container}:`));
        const outcome = await cp(['cp', ...flags, ...ends], work.path);
        const tree = `${treeOf(work.path).join('\n')}\n${await shell(SHOW)}`;
        results.push({ outcome, tree });
      }
    });
    return results;
  }

  for (const [name, cases] of [
    ['out of a container', OUT],
    ['into a container', IN],
  ] as const) {
    test(`${name} our client does as docker's does`, async () => {
      const [newest] = clis;
      assert(newest);
      const { host } = box.daemon;
      const [theirs, ours] = await Promise.all([
        copies(cases, 'CC1', (args, cwd) => docker(newest, host, args, { cwd })),
        copies(cases, 'CC2', (args, cwd) => run(clientCommand(), ['-H', host, ...args], { cwd })),
      ]);
      const problems: string[] = [];
      for (const [i, [from, to, ...flags]] of cases.entries()) {
        const withWords = hasOurWords(newest);
        try {
          assert.deepEqual(comparable(ours[i], withWords), comparable(theirs[i], withWords));
        } catch (error) {
          problems.push(`cp ${flags.join(' ')} ${from} ${to}: ${String(error)}`);
        }
      }
      assert.deepEqual(problems, []);
    });
  }
});

function comparable(result: { outcome: Outcome; tree: string } | undefined, withWords: boolean) {
  return {
    code: result?.outcome.code,
    said: (withWords ? result?.outcome.stderr : '')
      ?.replaceAll(/[^\s"]*\/coracle-copy-[A-Za-z0-9]+/g, 'HERE')
      .replaceAll(/\bCC[12]\b/g, 'CC')
      // What Go's tar writer has to say of a copy that was refused.
      .replaceAll(/^time=.*\n/gm, '')
      .trim(),
    tree: result?.tree.split('\n'),
  };
}
