import { buildEndpoints } from './build.ts';
import { containerEndpoints } from './container.ts';
import { deltaEndpoints } from './delta.ts';
import { execEndpoints } from './exec.ts';
import { imageEndpoints } from './image.ts';
import { networkEndpoints } from './network.ts';
import { systemEndpoints } from './system.ts';
import { volumeEndpoints } from './volume.ts';

/**
 * The whole HTTP API as one table: the name of each operation with what it takes and gives.
 * Source: Engine API v1.24 to v1.51.
 */
export const CONTRACT = {
  ...systemEndpoints,
  ...imageEndpoints,
  ...buildEndpoints,
  ...deltaEndpoints,
  ...containerEndpoints,
  ...execEndpoints,
  ...networkEndpoints,
  ...volumeEndpoints,
} as const;

export type Contract = typeof CONTRACT;
export type OperationName = keyof Contract;
