import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temp.ts';
import { openSyscalls } from './ffi.ts';
import { FileMaker, type MadeFile } from './file-maker.ts';

const sys = openSyscalls();
const READ = constants.O_RDONLY | constants.O_DIRECTORY;
const TIME = { sec: 1_600_000_000, nsec: 123_456_789 };

const fileAt = (dirFd: number, name: string): MadeFile => ({
  ...{ dirFd, name, mode: 0o640, needsChmod: false, owner: undefined, atime: TIME, mtime: TIME },
});

type Failure = { readonly message: string; readonly whose: string };

const opened = (): FileMaker<string> =>
  FileMaker.open<string>(({ message }, whose): Failure => ({ message, whose })) ??
  assert.fail('there is no such thread here');

const whole = (content: Buffer) => ({ content, isFirst: true, isLast: true });

test('files come out as they were posted, more of them than the ring holds', () => {
  using folder = temporaryFolder('maker');
  const dir = openSync(folder.path, READ);
  const objects = path.join(folder.path, 'objects');
  mkdirSync(objects);
  const objectsFd = openSync(objects, READ);
  const umask = process.umask(0o077);
  const contents = new Map<string, Buffer>();
  using maker = opened();
  for (let i = 0; i < 900; i += 1) {
    const content = randomBytes(i % 50 === 0 ? 130_000 : (i * 37) % 3_000);
    contents.set(`f${i}`, content);
    const half = content.length >> 1;
    const file = fileAt(dir, `f${i}`);
    const object = { dirFd: objectsFd, name: `${i}` };
    if (i % 3 > 0) maker.piece('x', file, whole(content), object);
    else {
      const [first, last] = [content.subarray(0, half), content.subarray(half)];
      maker.piece('x', file, { content: first, isFirst: true, isLast: false }, undefined);
      maker.piece('x', file, { content: last, isFirst: false, isLast: true }, object);
    }
  }
  const odd = { ...fileAt(dir, 'caf\xe9'), mode: 0o4755, needsChmod: true };
  const owner = { uid: 7, gid: 8 };
  const late = { sec: 10_000_000_000, nsec: 5 };
  const early = { sec: -1_000, nsec: 7 };
  maker.piece(
    'x',
    { ...odd, owner, atime: early, mtime: late },
    whole(Buffer.from('é')),
    undefined,
  );
  maker.symlink('x', { ...fileAt(dir, 'l'), owner }, 'caf\xe9');
  maker.link('x', { dirFd: dir, name: 'second' }, { dirFd: dir, name: 'f7' });
  maker.letGo('x', openSync(objects, READ), { atime: TIME, mtime: TIME });
  maker.settle();
  process.umask(umask);

  const at = (name: string): Buffer => Buffer.from(`${folder.path}/${name}`, 'latin1');
  for (const [name, content] of contents) {
    assert(readFileSync(at(name)).equals(content), name);
    const { mode, mtimeNs, nlink } = lstatSync(at(name), { bigint: true });
    assert.deepEqual([mode & 0o7777n, mtimeNs], [0o640n, 1_600_000_000_123_456_789n]);
    assert.equal(nlink, name === 'f7' ? 3n : 2n);
  }
  assert.equal(lstatSync(at('objects/7')).ino, lstatSync(at('second')).ino);
  const { mode, uid, gid, ...times } = lstatSync(at('caf\xe9'), { bigint: true });
  assert.deepEqual([mode & 0o7777n, uid, gid], [0o4755n, 7n, 8n]);
  const { atimeNs, mtimeNs } = times;
  assert.deepEqual([atimeNs, mtimeNs], [-999_999_999_993n, 10_000_000_000_000_000_005n]);
  assert.equal(readlinkSync(at('l'), 'latin1'), 'caf\xe9');
  assert.deepEqual(
    [lstatSync(at('l')).uid, lstatSync(at('l')).mtimeMs],
    [7, 1_600_000_000_123.4568],
  );
  assert.equal(lstatSync(objects).mtimeMs, 1_600_000_000_123.4568);
  closeSync(objectsFd);
  closeSync(dir);
});

test('a directory that is made has what the jobs behind it put there, and its times in the end', () => {
  using folder = temporaryFolder('maker');
  const root = openSync(folder.path, READ);
  using maker = opened();
  const owner = { uid: 7, gid: 8 };
  // More than there are slots: each is let go before the next but three.
  const open: number[] = [];
  for (let i = 0; i < 700; i += 1) {
    const above = open.at(-1) ?? root;
    const file = { ...fileAt(above, 'd'), mode: 0o2750, needsChmod: true, owner };
    const dir = maker.directory('x', i % 3 === 0 ? { ...file, dirFd: root, name: `d${i}` } : file);
    assert(dir < 0);
    maker.piece('x', fileAt(dir, 'f'), whole(Buffer.from(`${i}`)), undefined);
    maker.link('x', { dirFd: dir, name: 'l' }, { dirFd: dir, name: 'f' });
    maker.symlink('x', fileAt(dir, 's'), 'f');
    open.push(dir);
    if (open.length === 3) {
      for (const each of open.splice(0)) maker.letGo('x', each, { atime: TIME, mtime: TIME });
    }
  }
  maker.settle();
  const [last] = open;
  assert(last !== undefined && fstatSync(maker.descriptor(last)).isDirectory());
  closeSync(maker.descriptor(last));
  const { mode, uid, gid, mtimeNs } = lstatSync(`${folder.path}/d3/d/d`, { bigint: true });
  assert.deepEqual([mode & 0o7777n, uid, gid], [0o2750n, 7n, 8n]);
  assert.equal(mtimeNs, 1_600_000_000_123_456_789n);
  assert.equal(readFileSync(`${folder.path}/d3/d/d/l`, 'utf8'), '5');
  assert.equal(readFileSync(`${folder.path}/d696/d/s`, 'utf8'), '697');
  closeSync(root);
});

test('whose job failed is told right also when it is noticed a ring of jobs later', () => {
  using folder = temporaryFolder('maker');
  const dir = openSync(folder.path, READ);
  const long = 'n'.repeat(300);
  for (let round = 0; round < 6; round += 1) {
    using maker = opened();
    const link = (whose: string, name: string): void =>
      maker.symlink(whose, fileAt(dir, name), 't');
    // Some are under way when the one that fails is posted, so that the ring goes round meanwhile.
    for (let i = 0; i < round * 40; i += 1) link('before', `${round}-${i}`);
    const fill = (): void => {
      link('fails', long);
      for (let i = 0; i < 1_200; i += 1) link('behind', `${round}+${i}`);
      maker.settle();
    };
    assert.throws(fill, (error: Failure) => error.whose === 'fails', `round ${round}`);
  }
  closeSync(dir);
});

test('the first job that fails is told of, none is carried out after it, and directories are closed', () => {
  for (const [name, words] of [
    ['taken', /file exists/],
    ['n'.repeat(256), /file name too long/],
  ] as const) {
    using folder = temporaryFolder('maker');
    const dir = openSync(folder.path, READ);
    writeFileSync(path.join(folder.path, 'taken'), 'as it was');
    using maker = opened();
    maker.piece('before', fileAt(dir, 'before'), whole(Buffer.from('x')), undefined);
    maker.piece('bad', fileAt(dir, name), whole(Buffer.from('y')), undefined);
    maker.piece('after', fileAt(dir, 'after'), whole(Buffer.from('z')), undefined);
    const let1 = openSync(folder.path, READ);
    maker.letGo('after', let1, { atime: TIME, mtime: TIME });
    const isTold = (error: unknown): boolean => {
      const { message, whose } = error as Failure;
      return whose === 'bad' && words.test(message);
    };
    assert.throws(() => maker.settle(), isTold);
    assert(isTold(maker.failure));
    assert.throws(() => maker.symlink('more', fileAt(dir, 'more'), 'x'), isTold);
    assert.deepEqual(readdirSync(folder.path).sort(), ['before', 'taken']);
    assert.equal(readFileSync(path.join(folder.path, 'taken'), 'utf8'), 'as it was');
    assert.throws(() => fstatSync(let1), /EBADF/);
    closeSync(dir);
  }
});

test('files stay open until they are written out, and then leave nothing in the page cache', async () => {
  using folder = temporaryFolder('maker');
  const dir = openSync(folder.path, READ);
  const openFiles = (): number =>
    readdirSync('/proc/self/fd').filter((fd) => isBelow(folder.path, fd)).length;
  for (const isWhole of [true, false]) {
    using maker = opened();
    const names = Array.from({ length: 20 }, (_, i) => `${String(isWhole)}${i}`);
    for (const name of names) {
      maker.piece('x', fileAt(dir, name), whole(Buffer.alloc(10_000, name)), undefined);
    }
    maker.piece('x', fileAt(dir, `${String(isWhole)}none`), whole(Buffer.alloc(0)), undefined);
    maker.settle();
    assert.equal(maker.heldFiles, 20);
    assert.equal(openFiles(), 20);
    await maker.writeOut(dir, isWhole);
    assert.deepEqual([maker.heldFiles, openFiles()], [0, 0]);
    for (const name of names) {
      const fd = openSync(path.join(folder.path, name), constants.O_RDONLY);
      assert.equal(sys.cachedPages(fd) ?? 0, 0, name);
      closeSync(fd);
    }
  }
  const left = opened();
  left.piece('x', fileAt(dir, 'left'), whole(Buffer.from('x')), undefined);
  left.piece('x', fileAt(dir, 'begun'), { ...whole(Buffer.from('x')), isLast: false }, undefined);
  left[Symbol.dispose]();
  assert.equal(openFiles(), 0, 'who leaves early leaves no descriptors');
  closeSync(dir);
});

function isBelow(folder: string, fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${folder}/`);
  } catch {
    return false; // the descriptor by which the list was read
  }
}
