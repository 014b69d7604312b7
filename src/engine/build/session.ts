import type { DiffId } from '../../base/digest.ts';
import type { Escape } from '../../formats/dockerfile.ts';
import type { BuildArguments } from '../../policy/build/build-arguments.ts';
import type { ContainerConfig } from '../../spec/docker/container.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import type { ProgressCall } from '../call.ts';
import type { Engine } from '../engine.ts';
import type { BuildWorker } from './build-worker.ts';
import type { BuildOptions } from './options.ts';

/** What all steps of one build work with. */
export type BuildSession = {
  readonly engine: Engine;
  readonly options: BuildOptions;
  readonly worker: BuildWorker;
  readonly call: ProgressCall;
  readonly escapeWith: Escape;
  /** Stages that are done. */
  readonly stages: BuildStage[];
  /** Layers that it made. */
  readonly staged: StagedLayer[];
  /** Keeps an image that is used, with its layers, until the build is over. */
  readonly hold: (image: ImageRecord) => void;
  /** Keeps layers that are about to be an image's. */
  readonly holdLayers: (diffIds: readonly DiffId[]) => void;
};

/** One stage as it grows. */
export type BuildStage = {
  /** In lower case; '' when it has none. */
  readonly name: string;
  readonly args: BuildArguments;
  /** Of the image that it makes. */
  config: ContainerConfig;
  /** What it has made so far; undefined before the first step upon `scratch`. */
  image: ImageRecord | undefined;
  author: string;
  /** A CMD came in this stage. */
  hasCommand: boolean;
  /** A step had to be carried out: none after it is looked for. */
  isPastCache: boolean;
};

/** Text to the client. */
export function say({ call }: Pick<BuildSession, 'call'>, text: string): void {
  call.progress({ stream: text });
}
