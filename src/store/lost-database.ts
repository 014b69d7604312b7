import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseDiffId } from '../base/digest.ts';
import { dataLoss, errnoOf, isEngineError, messageOf } from '../base/errors.ts';
import type { LayerStoreContext } from './layers/catalog.ts';
import { layerTable } from './layers/layer-table.ts';
import { LayerFiles } from './layers/layer-tar.ts';
import { entries } from './orphans.ts';
import type { DataRoot } from './paths.ts';

/**
 * A database that a bad card or a bad hand has taken away. What it named cannot be made again but
 * for the layers, which say themselves what they are; so the next pull need not fetch them. Volumes
 * are taken in again as folders. Containers cannot, and what is written in them is never deleted
 * unasked: then the daemon does not start.
 */

/**
 * For before it is opened. A log without its database says nothing: SQLite begins anew, and empties
 * the log, which may be wanted for a copy of the database that is put back.
 * @throws dataLoss when there is no database any more, but containers are
 */
export function checkDatabase(dataRoot: DataRoot): void {
  const size = statSync(dataRoot.database, { throwIfNoEntry: false })?.size;
  if (size === undefined) checkMayBeNew(dataRoot, 'missing');
  if (size === 0) checkMayBeNew(dataRoot, 'empty');
}

/** For a database that turns out to be new. @throws dataLoss when containers are older than it */
export function checkMayBeNew(
  { database: file, containers }: DataRoot,
  state: 'missing' | 'empty',
): void {
  if (entries(containers).length === 0) return;
  throw dataLoss(
    `the database ${file} is ${state}, but there are containers: put a copy of it back, or move ${containers} aside to start anew with the layers and volumes that are here`,
  );
}

/**
 * Enters the layers that are here into a new database, kept by leases for the next pull. In the
 * transaction that makes its tables: what is in no table is swept by the start that follows.
 */
export function adoptLayersInTransaction(context: AdoptionContext): void {
  const { dataRoot, database, clock, log } = context;
  const table = layerTable(database);
  const found = readdirSync(dataRoot.layers)
    .filter((dir) => LAYER_DIR.test(dir))
    .flatMap((dir) => describe(context, path.join(dataRoot.layers, dir)) ?? []);
  if (found.length === 0) return;
  const nowMs = clock.nowMs();
  for (const layer of found) {
    table.addInTransaction(layer, path.basename(layer.directory), nowMs);
    table.leaseInTransaction(layer.diffId, nowMs);
  }
  log.warn('the database is new, but layers are here: images that are pulled again can use them', {
    layers: found.length,
  });
}

type AdoptionContext = Pick<LayerStoreContext, 'sys' | 'dataRoot' | 'database' | 'clock' | 'log'>;

/** Names that `LayerCatalog` gives. */
const LAYER_DIR = /^[a-z2-7]{8}$/;

/** What a layer's headers say of it; undefined for what is no whole layer. */
function describe({ sys, log }: AdoptionContext, directory: string) {
  try {
    using files = new LayerFiles(sys, directory);
    let diskBytes = 0;
    for (const record of files.records()) {
      if (record.kind === 'contents') {
        for (const { bytes } of record.segments) diskBytes += bytes;
      }
      if (record.kind !== 'end') continue;
      const diffId = parseDiffId(`sha256:${record.sha256.toString('hex')}`);
      return { directory, diffId, tarBytes: record.tarBytes, diskBytes };
    }
    return undefined;
  } catch (error) {
    if (!isEngineError(error, 'dataLoss') && errnoOf(error) === undefined) throw error;
    log.error('a layer cannot be used', { directory, error: messageOf(error) });
    return undefined;
  }
}
