import type { DiffId, Digest } from '../../base/digest.ts';
import { LIMITS } from '../../base/limits.ts';
import type { Database } from '../db.ts';
import type { LayerBlob, LayerRecord, StagedLayer } from '../layer-store.ts';

/** Rows of layers, of their compressed forms, and of the containers that lie on them. */
export type LayerTable = ReturnType<typeof layerTable>;

type Row = Readonly<Record<string, unknown>>;

/** Functions named `…InTransaction` must run inside `database.transaction`. */
export function layerTable({ sql }: Database) {
  const find = (diffId: DiffId): LayerRecord | undefined => {
    const row = sql('SELECT * FROM layers WHERE diff_id = ?').get(diffId);
    return row === undefined ? undefined : recordFrom(row);
  };
  return {
    find,
    findByBlob: (digest: Digest): LayerRecord | undefined => {
      const row = sql(
        'SELECT l.* FROM layers l JOIN layer_blobs b USING (diff_id) WHERE b.digest = ? LIMIT 1',
      ).get(digest);
      return row === undefined ? undefined : recordFrom(row);
    },
    blobsOf: (diffId: DiffId): LayerBlob[] =>
      sql(
        `SELECT b.*, h.sum FROM layer_blobs b LEFT JOIN blob_heads h USING (diff_id, digest)
         WHERE diff_id = ? ORDER BY digest, repository`,
      )
        .all(diffId)
        .map(blobFrom),
    knownDigests: (): Record<string, DiffId> =>
      Object.fromEntries(
        sql(
          `SELECT diff_id AS digest, diff_id FROM layers UNION SELECT digest, diff_id FROM layer_blobs
           EXCEPT SELECT digest, diff_id FROM layer_blobs JOIN damaged_layers USING (diff_id)
           EXCEPT SELECT diff_id, diff_id FROM damaged_layers`,
        )
          .all()
          .map((row) => [row['digest'] as string, row['diff_id'] as DiffId]),
      ),
    damageOf: (diffId: DiffId): string | undefined =>
      sql('SELECT why FROM damaged_layers WHERE diff_id = ?').get(diffId)?.['why'] as
        | string
        | undefined,
    isDamaged: (diffId: DiffId): boolean =>
      sql('SELECT 1 FROM damaged_layers WHERE diff_id = ?').get(diffId) !== undefined,
    setDamaged: (diffId: DiffId, why: string | undefined): void => {
      if (why === undefined) sql('DELETE FROM damaged_layers WHERE diff_id = ?').run(diffId);
      else {
        sql('INSERT INTO damaged_layers VALUES (?1, ?2) ON CONFLICT DO UPDATE SET why = ?2').run(
          diffId,
          why,
        );
      }
    },
    list: (): LayerRecord[] => sql('SELECT * FROM layers').all().map(recordFrom),

    /** False when such a layer is there already. */
    addInTransaction: (
      layer: Pick<StagedLayer, 'diffId' | 'tarBytes' | 'diskBytes'>,
      dir: string,
      nowMs: number,
    ): boolean =>
      sql('INSERT INTO layers VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING').run(
        layer.diffId,
        dir,
        layer.tarBytes,
        layer.diskBytes,
        nowMs,
      ).changes > 0,
    /** Puts a fresh copy in a damaged layer's place; returns the folder of the damaged one. */
    repairInTransaction: (layer: StagedLayer, dir: string): string | undefined => {
      const before = find(layer.diffId);
      sql('UPDATE layers SET dir = ?, disk_bytes = ? WHERE diff_id = ?').run(
        dir,
        layer.diskBytes,
        layer.diffId,
      );
      sql('DELETE FROM damaged_layers WHERE diff_id = ?').run(layer.diffId);
      return before?.dir;
    },
    addBlobInTransaction: (diffId: DiffId, blob: Omit<LayerBlob, 'diffId'>): void => {
      sql('INSERT INTO layer_blobs VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING').run(
        diffId,
        blob.digest,
        blob.repository,
        blob.mediaType,
        blob.sizeBytes,
      );
      if (blob.headSum === undefined) return;
      sql('INSERT INTO blob_heads VALUES (?, ?, ?) ON CONFLICT DO NOTHING').run(
        diffId,
        blob.digest,
        blob.headSum,
      );
    },
    /** Layers that neither an image nor a container names, and whose lease is over. */
    unused: (nowMs: number): LayerRecord[] =>
      sql(
        `SELECT * FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)
         AND diff_id NOT IN (SELECT diff_id FROM rootfs_layers)
         AND diff_id NOT IN (
           SELECT diff_id FROM layer_leases WHERE until_ms > ?1
           ORDER BY until_ms DESC LIMIT ?2)`,
      )
        .all(nowMs, LIMITS.leasedLayersMax)
        .map(recordFrom),
    /** One that an image names needs none. */
    leaseInTransaction: (diffId: DiffId, nowMs: number): void => {
      sql(
        `INSERT OR REPLACE INTO layer_leases SELECT ?1, ?2
         WHERE NOT EXISTS (SELECT 1 FROM image_layers WHERE diff_id = ?1)`,
      ).run(diffId, nowMs + LIMITS.partialLayerMs);
    },
    /**
     * Leases go on when the clock was set: by what it went `byMs` further since they were given, or
     * were looked at. One that is longer than there is any was given before a start at which the
     * clock was behind, as that of a board without a battery is: it begins anew.
     */
    settleLeasesInTransaction: (nowMs: number, byMs: number): void => {
      if (byMs !== 0) sql('UPDATE layer_leases SET until_ms = until_ms + ?').run(byMs);
      const untilMs = nowMs + LIMITS.partialLayerMs;
      sql('UPDATE layer_leases SET until_ms = ?1 WHERE until_ms > ?1').run(untilMs);
    },
    endLease: (diffId: DiffId): void => {
      sql('DELETE FROM layer_leases WHERE diff_id = ?').run(diffId);
    },
    endLeases: (): void => {
      sql('DELETE FROM layer_leases').run();
    },
    removeInTransaction: (diffId: DiffId): void => {
      sql('DELETE FROM layers WHERE diff_id = ?').run(diffId);
    },

    setRootfsInTransaction: (containerId: string, layers: readonly DiffId[]): void => {
      sql('DELETE FROM rootfs_layers WHERE container_id = ?').run(containerId);
      for (const [position, diffId] of layers.entries()) {
        sql('INSERT INTO rootfs_layers VALUES (?, ?, ?)').run(containerId, position, diffId);
      }
    },
    /** Notes those that are here and are not noted; for a container whose layers were lost and came again. */
    adoptRootfsInTransaction: (containerId: string, layers: readonly DiffId[]): void => {
      for (const [position, diffId] of layers.entries()) {
        sql(
          `INSERT OR IGNORE INTO rootfs_layers SELECT ?1, ?2, ?3
           WHERE EXISTS (SELECT 1 FROM layers WHERE diff_id = ?3)`,
        ).run(containerId, position, diffId);
      }
    },
    /** Bottom first. */
    layersOfRootfs: (containerId: string): DiffId[] =>
      sql('SELECT diff_id FROM rootfs_layers WHERE container_id = ? ORDER BY position')
        .all(containerId)
        .map((row) => row['diff_id'] as DiffId),
    removeRootfs: (containerId: string): void => {
      sql('DELETE FROM rootfs_layers WHERE container_id = ?').run(containerId);
    },
  };
}

function recordFrom(row: Row): LayerRecord {
  return {
    diffId: row['diff_id'] as DiffId,
    dir: row['dir'] as string,
    tarBytes: row['tar_bytes'] as number,
    diskBytes: row['disk_bytes'] as number,
    createdMs: row['created_ms'] as number,
  };
}

function blobFrom(row: Row): LayerBlob {
  return {
    diffId: row['diff_id'] as DiffId,
    digest: row['digest'] as Digest,
    repository: row['repository'] as string,
    mediaType: row['media_type'] as string,
    sizeBytes: row['size_bytes'] as number,
    ...(row['sum'] === null ? {} : { headSum: row['sum'] as number }),
  };
}
