import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, copyFileSync, fsyncSync, openSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temp.ts';
import { FADV } from './constants.ts';
import { openSyscalls } from './ffi.ts';
import { parseProgram } from './text-cache.ts';

const sys = openSyscalls();

/** What a process of the program does from its start to its end, and what it saw. */
const PROGRAM = `
  const { openSyscalls } = await import('./src/kernel/ffi.ts');
  const { releaseText } = await import('./src/kernel/page-out.ts');
  const { TextCache } = await import('./src/kernel/text-cache.ts');
  const cache = new TextCache(openSyscalls(), Buffer.from(process.argv[1], 'base64'));
  const reads = process.resourceUsage().majorPageFault;
  cache.keepMapped();
  releaseText(openSyscalls());
  cache.dropRest();
  console.log(reads);
`;

test('what of a program nobody used leaves the page cache, what was there before stays', () => {
  using folder = temporaryFolder('text-cache');
  const program = path.join(folder.path, 'node');
  copyFileSync(process.execPath, program);
  const fd = openSync(program, 'r');
  try {
    if (sys.cachedPages(fd) === undefined) return; // before Linux 6.5 nobody can tell
    const cachedMb = (): number => ((sys.cachedPages(fd) ?? 0) * 4) / 1024;
    fsyncSync(fd);
    const empty = (): void => sys.fadvise(fd, 0, 0, FADV.DONTNEED);
    /** Pages that a process like this one had to read from the disk until it was at work. */
    const run = (before: Buffer, keeps: boolean): number => {
      const script = keeps ? PROGRAM : 'console.log(process.resourceUsage().majorPageFault)';
      const args = ['--no-warnings', '--input-type=module', '--eval', script];
      return Number(execFileSync(program, [...args, before.toString('base64')]));
    };
    const nothing = Buffer.alloc(64 << 10);
    empty();
    run(nothing, false);
    const all = cachedMb();
    empty();
    const cold = run(nothing, true);
    const used = cachedMb();
    assert.ok(used > 10 && used < all - 15, `${used} MB of ${all} MB stay`);
    const warm = run(nothing, true);
    assert.ok(cold > 20 && warm < cold / 10, `${cold} reads at first, ${warm} again`);
    empty();
    run(Buffer.alloc(64 << 10, 1), true);
    assert.ok(cachedMb() > all - 10, `${cachedMb()} MB were to stay`);
  } finally {
    closeSync(fd);
  }
});

test('the maps of a program are found by its name, in pages', () => {
  const smaps = [
    '00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/node',
    'Size:                328 kB',
    'KernelPageSize:        4 kB',
    '00652000-00655000 rw-p 00052000 08:02 173521      /usr/bin/node',
    '00700000-00701000 r--p 00000000 08:02 173522      /usr/bin/nodejs',
    '00800000-00802000 r--p 00060000 08:02 173521      /usr/bin/node',
  ].join('\n');
  assert.deepEqual(parseProgram(smaps, '/usr/bin/node'), {
    pageBytes: 4096,
    maps: [
      { start: 0x400000n, first: 1, count: 0x52 },
      { start: 0x800000n, first: 0x60, count: 2 },
    ],
  });
});
