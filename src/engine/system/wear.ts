import type { SystemWear } from '../../spec/docker/system.ts';
import { wearByCause } from '../../store/layers/wear.ts';
import type { Engine } from '../engine.ts';

/** `GET /system/wear`: bytes of images that were written to the data root since installation. */
export async function systemWear(engine: Pick<Engine, 'database'>): Promise<SystemWear> {
  const causes = wearByCause(engine.database);
  return {
    TotalBytes: causes.reduce((sum, { bytes }) => sum + bytes, 0),
    Causes: causes.map(({ cause, bytes }) => ({ Cause: cause, Bytes: bytes })),
  };
}
