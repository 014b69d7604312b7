import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { coracle } from '../support/cli.ts';
import { layerTar } from '../support/images.ts';
import type { Outcome } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/** `coracle build`: what is sent, what is shown, and how it ends. */

let box: Box;
const folder = temporaryFolder('cli-build');
before(async () => {
  box = await openBox();
});
after(async () => {
  await box[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** A context of its own. */
function context(name: string, files: Readonly<Record<string, string>>): string {
  const place = path.join(folder.path, name);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(place, file)), { recursive: true });
    writeFileSync(path.join(place, file), text.replaceAll('BASE', box.image));
  }
  return place;
}

const build = async (
  args: readonly string[],
  options: Parameters<typeof coracle>[1] = {},
): Promise<Outcome> =>
  await coracle(['build', '--network', 'none', ...args], { host: box.daemon.host, ...options });

test('sends a folder without what .dockerignore leaves out, as nobody in particular', async () => {
  const place = context('ignored', {
    Dockerfile:
      'FROM BASE\nCOPY . /app\nRUN cd /app && find . | sort && stat -c "%u:%g %a" run.sh\n',
    '.dockerignore':
      '# comment\nnode_modules\n**/*.log\n!keep.log\nDockerfile\nsecret/*\n!secret/open\n',
    'run.sh': 'true',
    'node_modules/deep/x': '',
    'a.log': '',
    'keep.log': '',
    'sub/b.log': '',
    'secret/shut': '',
    'secret/open': '',
  });
  chmodSync(path.join(place, 'run.sh'), 0o750);
  symlinkSync('/etc/passwd', path.join(place, 'link'));
  const { code, stdout, stderr } = await build([
    '--compress',
    '-t',
    'mine',
    '-t',
    'mine:two',
    place,
  ]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^Sending build context to the engine {2}[0-9.]+kB$/m);
  const listed =
    '.\n./.dockerignore\n./keep.log\n./link\n./run.sh\n./secret\n./secret/open\n./sub\n';
  assert.ok(stdout.includes(`${listed}0:0 750\n`), stdout);
  assert.match(stdout, /Successfully tagged mine:latest\nSuccessfully tagged mine:two\n$/);
});

test('takes the Dockerfile from where it is told, stdin too', async () => {
  const place = context('named', {
    'docker/Other': 'FROM BASE\nCOPY f /f\nLABEL which=inside\n',
    f: 'content',
  });
  const outside = context('outside', { Dockerfile: 'FROM BASE\nCOPY . /t\nRUN ls -A /t\n' });
  const inside = await build(['-q', '-f', path.join(place, 'docker/Other'), place]);
  assert.match(inside.stdout, /^sha256:[0-9a-f]{64}\n$/, inside.stderr);
  const relative = await build(['-q', '-f', 'named/docker/Other', 'named'], { cwd: folder.path });
  assert.equal(relative.stdout, inside.stdout, relative.stderr);
  const elsewhere = await build(['-f', path.join(outside, 'Dockerfile'), place]);
  assert.match(elsewhere.stdout, /\ndocker\nf\nRemoving/, elsewhere.stdout + elsewhere.stderr);
  const input = `FROM ${box.image}\nCOPY f /f\nRUN cat /f && echo\n`;
  const stdin = await build(['-f', '-', place], { input });
  assert.match(stdin.stdout, /\ncontent\n/, stdin.stderr);
  const alone = await build(['-'], { input: `FROM ${box.image}\nRUN echo alone\n` });
  assert.match(alone.stdout, /\nalone\n/, alone.stderr);
  const tar = await layerTar([
    { name: 'Dockerfile', content: `FROM ${box.image}\nRUN echo tar\n` },
  ]);
  const piped = await build(['-'], { input: Buffer.from(tar) });
  assert.match(piped.stdout, /\ntar\n/, piped.stderr);
});

test('ends with the code of the command that failed, and says what was said', async () => {
  const input = `FROM ${box.image}\nRUN echo heard; exit 5\n`;
  const loud = await build(['--force-rm', '-'], { input });
  assert.equal(loud.code, 5);
  assert.match(loud.stdout, /\nheard\n/);
  assert.match(
    loud.stderr,
    /^The command '\/bin\/sh -c echo heard; exit 5' returned a non-zero code: 5$/m,
  );
  const quiet = await build(['-q', '--force-rm', '-'], { input });
  assert.deepEqual([quiet.code, quiet.stdout], [5, '']);
  assert.match(quiet.stderr, /Step 1\/2[\s\S]*heard[\s\S]*non-zero code: 5/);
});

test('writes the ID to a file, and leaves none where there is no image', async () => {
  const file = path.join(folder.path, 'id');
  const good = await build(['-q', '--iidfile', file, '-'], { input: `FROM ${box.image}\nCMD x\n` });
  assert.equal(readFileSync(file, 'utf8'), good.stdout.trim());
  const bad = await build(['--iidfile', file, '-'], { input: 'FROM x\nBAD y\n' });
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /dockerfile parse error line 2: unknown instruction: BAD/);
  assert.throws(() => readFileSync(file), /ENOENT/);
});

test('has arguments of the command line and of the environment', async () => {
  const input = `FROM ${box.image}\nARG A\nARG B\nARG C\nRUN echo "$A-$B-$C-"\n`;
  const args = ['--build-arg', 'A=given', '--build-arg', 'B', '--build-arg', 'C', '-'];
  const { stdout, stderr } = await build(args, { input, env: { B: 'taken' } });
  assert.match(stdout, /^given-taken--$/m, stderr);
});

test('says what is wrong with what it is to send', async () => {
  const empty = context('empty', { x: '' });
  const said = async (...args: string[]): Promise<string> => {
    const { code, stderr } = await build(args, { cwd: folder.path });
    assert.equal(code, 1);
    return stderr.trim();
  };
  assert.equal(await said('nowhere'), 'unable to prepare context: path "nowhere" not found');
  assert.match(await said(path.join(empty, 'x')), /context must be a directory/);
  assert.match(
    await said(empty),
    /unable to evaluate symlinks in Dockerfile path: lstat Dockerfile: no such/,
  );
  assert.match(await said('-f', '-', '-'), /can't use stdin for both build context and dockerfile/);
  assert.match(
    await said('https://example.org/x.git'),
    /git repositories are no build context here/,
  );
});

test('builder prune asks, and says what went', async () => {
  const input = (word: string): string => `FROM ${box.image}\nRUN echo ${word} > /pruned\n`;
  await build(['-t', 'cache', '-'], { input: input('one') });
  await build(['-t', 'cache', '-'], { input: input('two') });
  const host = box.daemon.host;
  const no = await coracle(['builder', 'prune'], { host, input: 'n\n' });
  assert.match(no.stdout, /WARNING! This will remove all dangling build cache\./);
  const yes = await coracle(['builder', 'prune', '--force'], { host });
  assert.match(yes.stdout, /Deleted build cache objects:\nsha256:[\s\S]*Total reclaimed space: /);
});
