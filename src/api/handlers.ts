import { imageBuild } from '../engine/build/build.ts';
import { buildSession } from '../engine/build/buildkit-session.ts';
import { buildPrune } from '../engine/build/prune.ts';
import {
  containerArchiveGet,
  containerArchiveHead,
  containerArchivePut,
  containerExport,
} from '../engine/containers/archive.ts';
import { containerAttach, containerResize } from '../engine/containers/attach.ts';
import { containerChanges } from '../engine/containers/changes.ts';
import { containerCommit } from '../engine/containers/commit.ts';
import { containerCreate } from '../engine/containers/create.ts';
import { containerInspect } from '../engine/containers/inspect.ts';
import {
  containerKill,
  containerPause,
  containerRestart,
  containerStart,
  containerStop,
  containerUnpause,
  containerWait,
} from '../engine/containers/lifecycle-api.ts';
import { containerList } from '../engine/containers/list.ts';
import { containerLogs } from '../engine/containers/logs.ts';
import { containerPrune } from '../engine/containers/prune.ts';
import { containerRemove } from '../engine/containers/remove.ts';
import { containerRename } from '../engine/containers/rename.ts';
import { containerStats } from '../engine/containers/stats.ts';
import { containerTop } from '../engine/containers/top.ts';
import { containerUpdate } from '../engine/containers/update.ts';
import { deltaInspect, deltaPlan } from '../engine/deltas/ask.ts';
import { imageDelta } from '../engine/deltas/create.ts';
import { deltaPublish } from '../engine/deltas/publish.ts';
import { execCreate, execInspect, execResize, execStart } from '../engine/execs/api.ts';
import { imageDistribution } from '../engine/images/distribution.ts';
import { imageHistory } from '../engine/images/history.ts';
import { imageImport } from '../engine/images/import.ts';
import { imageInspect } from '../engine/images/inspect.ts';
import { imageList } from '../engine/images/list.ts';
import { imageLoad } from '../engine/images/load.ts';
import { imagePrune } from '../engine/images/prune.ts';
import { imagePull } from '../engine/images/pull.ts';
import { imagePush } from '../engine/images/push.ts';
import { imageRemove } from '../engine/images/remove.ts';
import { imageSave, imageSaveOne } from '../engine/images/save.ts';
import { imageSearch } from '../engine/images/search.ts';
import { imageTag } from '../engine/images/tag.ts';
import { imageVerify } from '../engine/images/verify.ts';
import {
  networkConnect,
  networkCreate,
  networkDisconnect,
  networkInspect,
  networkList,
  networkPrune,
  networkRemove,
} from '../engine/networks/api.ts';
import { systemAuth } from '../engine/system/auth.ts';
import { systemCheck } from '../engine/system/check.ts';
import { systemDf } from '../engine/system/df.ts';
import { systemEvents } from '../engine/system/events.ts';
import { systemInfo } from '../engine/system/info.ts';
import { systemPing } from '../engine/system/ping.ts';
import { systemVersion } from '../engine/system/version.ts';
import { systemWear } from '../engine/system/wear.ts';
import {
  volumeCreate,
  volumeInspect,
  volumeList,
  volumePrune,
  volumeRemove,
} from '../engine/volumes/api.ts';
import type { Handlers } from './handler.ts';

/** The engine function of each operation. A missing or misfitting one does not compile. */
export const HANDLERS: Handlers = {
  systemPing,
  systemPingHead: systemPing,
  systemVersion,
  systemInfo,
  systemEvents,
  systemDf,
  systemWear,
  systemCheck,
  systemAuth,

  imageList,
  imageInspect,
  imageHistory,
  imageTag,
  imageRemove,
  imagePrune,
  imagePull,
  imagePush,
  imageVerify,
  imageSearch,
  imageDistribution,
  imageLoad,
  imageImport,
  imageSave,
  imageSaveOne,
  imageDelta,

  imageBuild,
  buildSession,
  buildPrune,

  deltaInspect,
  deltaPlan,
  deltaPublish,

  networkList,
  networkCreate,
  networkPrune,
  networkInspect,
  networkRemove,
  networkConnect,
  networkDisconnect,

  containerCreate,
  containerStart,
  containerStop,
  containerRestart,
  containerKill,
  containerPause,
  containerUnpause,
  containerWait,
  containerRemove,
  containerInspect,
  containerList,
  containerLogs,
  containerAttach,
  containerAttachWebsocket: containerAttach,
  containerResize,
  containerRename,
  containerUpdate,
  containerTop,
  containerStats,
  containerPrune,
  containerChanges,
  containerExport,
  containerCommit,
  containerArchiveHead,
  containerArchiveGet,
  containerArchivePut,

  execCreate,
  execStart,
  execResize,
  execInspect,

  volumeCreate,
  volumeInspect,
  volumeList,
  volumePrune,
  volumeRemove,
};
