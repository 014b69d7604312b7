import assert from 'node:assert/strict';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { LIMITS } from '../../src/base/limits.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { METACOPY, NO_VALUE, REDIRECT, redirectTo } from '../../src/store/layers/objects.ts';
import { CrashDisk, type FilesystemKind, hasFilesystem } from '../support/crash-disk.ts';
import { storageDriverSuite } from '../support/layer-store-suite.ts';
import { openStore } from '../support/layers.ts';

/** Each storage driver on each filesystem that data roots lie on. */

const sys = openSyscalls();
const KINDS: readonly FilesystemKind[] = ['ext4', 'xfs', 'btrfs', 'f2fs'];

for (const kind of KINDS) {
  const skip = hasFilesystem(kind) ? false : `this kernel has no ${kind}`;
  for (const driver of ['overlay2', 'vfs'] as const) {
    describe(`storage driver ${driver} on ${kind}`, { skip }, () => {
      let disk: CrashDisk;
      let stores = 0;
      before(async () => {
        disk = await CrashDisk.make(kind);
      });
      after(() => disk[Symbol.asyncDispose]());

      if (kind === 'ext4') {
        test('what a stub says of its content lies in its inode, however many there are', () => {
          const file = path.join(disk.mountPoint, `stub-${driver}`);
          writeFileSync(file, '');
          const object = { group: 'abcdefgh', number: LIMITS.layerContentsMax };
          sys.lsetxattr(file, METACOPY, NO_VALUE);
          sys.lsetxattr(file, REDIRECT, redirectTo(object));
          assert.equal(statSync(file).blocks, 0);
          const longer = Buffer.concat([redirectTo(object), Buffer.from('/1234')]);
          sys.lsetxattr(file, REDIRECT, longer);
          assert.notEqual(statSync(file).blocks, 0);
        });
      }

      storageDriverSuite(async () => {
        stores += 1;
        const root = path.join(disk.mountPoint, String(stores));
        mkdirSync(root);
        return await openStore(driver, root);
      });
    });
  }
}
