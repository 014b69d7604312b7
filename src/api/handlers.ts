import { imageHistory } from '../engine/images/history.ts';
import { imageInspect } from '../engine/images/inspect.ts';
import { imageList } from '../engine/images/list.ts';
import { imagePrune } from '../engine/images/prune.ts';
import { imagePull } from '../engine/images/pull.ts';
import { imagePush } from '../engine/images/push.ts';
import { imageRemove } from '../engine/images/remove.ts';
import { imageSearch } from '../engine/images/search.ts';
import { imageTag } from '../engine/images/tag.ts';
import { systemAuth } from '../engine/system/auth.ts';
import { systemEvents } from '../engine/system/events.ts';
import { systemInfo } from '../engine/system/info.ts';
import { systemPing } from '../engine/system/ping.ts';
import { systemVersion } from '../engine/system/version.ts';
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
  | 'systemDf'
  | 'imageImport'
  | 'imageLoad'
  | 'imageSave'
  | 'imageSaveOne'
  | Extract<OperationName, `container${string}`>
  | Extract<OperationName, `exec${string}`>
  | Extract<OperationName, `network${string}`>;

/** The engine function of each operation. A missing or misfitting one does not compile. */
export const HANDLERS: Handlers<Exclude<OperationName, Pending>> = {
  systemPing,
  systemPingHead: systemPing,
  systemVersion,
  systemInfo,
  systemEvents,
  systemAuth,

  imageList,
  imageInspect,
  imageHistory,
  imageTag,
  imageRemove,
  imagePrune,
  imagePull,
  imagePush,
  imageSearch,

  volumeCreate,
  volumeInspect,
  volumeList,
  volumePrune,
  volumeRemove,
};
