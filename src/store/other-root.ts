import { copyFileSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import type { ImageId } from '../base/digest.ts';
import { dataLoss, errnoOf, unavailable } from '../base/errors.ts';
import { openDatabaseCopy } from './db.ts';
import { imageStore } from './images.ts';
import type { BasisLayer } from './layers/layer-basis.ts';
import { layerTable } from './layers/layer-table.ts';
import { dataRootAt } from './paths.ts';

/** Copies that a daemon which writes at the same moment may spoil. */
const ATTEMPTS = 5;

/**
 * Where the layers of images in another data root lie, bottom first; without those that it has not,
 * or not all of. Nothing is written there, so it may be on a read-only filesystem and another daemon
 * may be at work on it. As nobody holds the layers there for us, they may go while they are read:
 * that is an error then, not a wrong result.
 *
 * @param scratch a folder in memory
 * @throws unavailable when there is no store of ours, or one of another version
 */
export function findInOtherRoot(
  root: string,
  ids: Iterable<ImageId>,
  scratch: string,
): Map<ImageId, BasisLayer[]> {
  const { database: file, layers } = dataRootAt(root);
  const folder = mkdtempSync(path.join(scratch, 'other-root-'));
  try {
    const copy = path.join(folder, 'db');
    copyDatabase(file, copy);
    const database = openDatabaseCopy(copy, file);
    try {
      const table = layerTable(database);
      const images = imageStore(database);
      const found = new Map<ImageId, BasisLayer[]>();
      for (const id of ids) {
        const diffIds = images.find(id)?.diffIds;
        const basis = diffIds?.flatMap((diffId) => {
          const layer = table.find(diffId);
          return layer ? [{ diffId, directory: path.join(layers, layer.dir) }] : [];
        });
        if (basis !== undefined && basis.length === diffIds?.length) found.set(id, basis);
      }
      return found;
    } finally {
      database.close();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Copies a database with its write-ahead log, both as they were at one moment. */
function copyDatabase(file: string, copy: string): void {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const before = stateOf(file);
    if (before.startsWith('-')) {
      throw unavailable(
        `cannot read the data root ${path.dirname(file)}: it has no ${path.basename(file)}, so it is not one of Coracle's`,
      );
    }
    copyFileSync(file, copy);
    rmSync(`${copy}-wal`, { force: true });
    try {
      copyFileSync(`${file}-wal`, `${copy}-wal`);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    if (stateOf(file) === before) return;
  }
  throw dataLoss(`cannot read ${file}: it changes all the time`);
}

function stateOf(file: string): string {
  return [file, `${file}-wal`]
    .map((each) => {
      const stat = statSync(each, { bigint: true, throwIfNoEntry: false });
      return stat === undefined ? '-' : `${stat.ino} ${stat.size} ${stat.mtimeNs}`;
    })
    .join(' ');
}
