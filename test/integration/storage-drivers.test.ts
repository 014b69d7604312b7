import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe } from 'node:test';
import { CrashDisk, type FilesystemKind, hasFilesystem } from '../support/crash-disk.ts';
import { storageDriverSuite } from '../support/layer-store-suite.ts';
import { openStore } from '../support/layers.ts';

/** Each storage driver on each filesystem that data roots lie on. */

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

      storageDriverSuite(async () => {
        stores += 1;
        const root = path.join(disk.mountPoint, String(stores));
        mkdirSync(root);
        return await openStore(driver, root);
      });
    });
  }
}
