import type { Database } from '../db.ts';
import type { StagedLayer, WearCause } from '../layer-store.ts';

/**
 * Adds what was written for staged layers. Runs inside the transaction that commits them, so that
 * keeping count is no write of its own.
 */
export function addWearInTransaction(
  { sql }: Database,
  cause: WearCause,
  staged: readonly StagedLayer[],
): void {
  let bytes = 0;
  for (const { writtenBytes } of staged) bytes += writtenBytes;
  if (bytes === 0) return;
  sql('INSERT INTO wear VALUES (?1, ?2) ON CONFLICT(cause) DO UPDATE SET bytes = bytes + ?2').run(
    cause,
    bytes,
  );
}

/** All causes that wrote something, the largest first. */
export function wearByCause({ sql }: Database): { cause: WearCause; bytes: number }[] {
  return sql('SELECT cause, bytes FROM wear ORDER BY bytes DESC, cause').all() as {
    cause: WearCause;
    bytes: number;
  }[];
}
