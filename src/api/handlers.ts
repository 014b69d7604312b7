import { imagePull } from '../engine/images/pull.ts';
import { imageSearch } from '../engine/images/search.ts';
import { systemAuth } from '../engine/system/auth.ts';
import {
  volumeCreate,
  volumeInspect,
  volumeList,
  volumePrune,
  volumeRemove,
} from '../engine/volumes/api.ts';
import type { OperationName } from './contract/contract.ts';
import type { Handlers } from './handler.ts';

/**
 * Operations of the contract whose engine function is still to be written; they answer 404. Take a
 * name out here when you add its line below.
 */
type Pending =
  | 'systemPing'
  | 'systemPingHead'
  | 'systemVersion'
  | 'systemInfo'
  | 'systemEvents'
  | 'systemDf'
  | Exclude<Extract<OperationName, `image${string}`>, 'imagePull' | 'imageSearch'>
  | Extract<OperationName, `container${string}`>
  | Extract<OperationName, `exec${string}`>
  | Extract<OperationName, `network${string}`>;

/** The engine function of each operation. A missing or misfitting one does not compile. */
export const HANDLERS: Handlers<Exclude<OperationName, Pending>> = {
  systemAuth,
  imagePull,
  imageSearch,
  volumeCreate,
  volumeInspect,
  volumeList,
  volumePrune,
  volumeRemove,
};
