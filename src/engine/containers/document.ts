import type { DiffId, ImageId } from '../../base/digest.ts';
import { invalidArgument } from '../../base/errors.ts';
import { READ_ONLY_DEPTHS } from '../../policy/mounts.ts';
import {
  array,
  bool,
  type Decoded,
  type Decoder,
  decodeJson,
  int,
  string,
  struct,
} from '../../spec/decode.ts';
import { containerConfig, hostConfig, networkingConfig } from '../../spec/docker/container.ts';
import type { MountPoint } from '../volumes/volumes.ts';

/**
 * The two JSON documents of a container. `ContainerDocument` says what it was made from and changes
 * only by update and rename; `KeptState` says what of its state survives a reboot.
 */

/** One of a few words; missing gives the first. */
function oneOf<const T extends string>(words: readonly [T, ...T[]]): Decoder<T> {
  const zero = words[0];
  return {
    zero: () => zero,
    decode: (value, path) => {
      if (value === undefined || value === null) return zero;
      const word = words.find((each) => each === value);
      if (word === undefined) throw invalidArgument(`${path} cannot be ${JSON.stringify(value)}`);
      return word;
    },
  };
}

const mountPoint: Decoder<MountPoint> = struct('MountPoint', {
  type: oneOf(['volume', 'bind', 'tmpfs']),
  name: string,
  source: string,
  destination: string,
  driver: string,
  mode: string,
  readWrite: bool,
  propagation: string,
  recursive: bool,
  readOnlyDepth: oneOf(READ_ONLY_DEPTHS),
  copyUp: bool,
  subpath: string,
  tmpfsOptions: string,
  createSource: bool,
  origin: oneOf(['binds', 'mounts', 'tmpfs', 'image', 'volumes-from']),
});

/** Text that an earlier daemon checked when it wrote it. */
function branded<T extends string>(): Decoder<T> {
  return string as Decoder<T>;
}

const containerDocument = struct('Container', {
  /** RFC 3339, nanoseconds. */
  created: string,
  imageId: branded<ImageId>(),
  /** Bottom first. Kept here, because the image may be untagged while a container lives on it. */
  layers: array(branded<DiffId>()),
  /** Merged with the image's. `Image` is as the user wrote it. */
  config: containerConfig,
  /** With the daemon's defaults filled in where Docker's inspect shows them. */
  hostConfig,
  /** The endpoints that were asked for; what they became is the sandbox's. */
  networking: networkingConfig,
  /** Networks that it was disconnected from although its NetworkMode names them. */
  disconnected: array(string),
  mounts: array(mountPoint),
  /** Executable and its arguments: entrypoint followed by command. */
  path: string,
  args: array(string),
});
export type ContainerDocument = Decoded<typeof containerDocument>;

const keptState = struct('State', {
  /** RFC 3339; '' when it was never started. */
  startedAt: string,
  /** RFC 3339; '' when it never ended. */
  finishedAt: string,
  exitCode: int,
  /** Why the last start failed; '' when it did not. */
  error: string,
  oomKilled: bool,
  /** Its shim died under its last run, see `endWithoutShim`. */
  shimDied: bool,
  /** Restarts by the restart policy since the user last started it. */
  restartCount: int,
  /** Started and, as far as was written, not ended. */
  running: bool,
  /** A run was begun whose end is not written; `running` is true between two runs as well. */
  begun: bool,
  /** The user stopped it: `unless-stopped` leaves it alone. */
  stoppedByUser: bool,
});
export type KeptState = Decoded<typeof keptState>;

/** The state of a container that was just made. */
export const FRESH_STATE: KeptState = keptState.zero();

/** @throws invalidArgument when the text is not what this engine wrote */
export function decodeDocument(text: string): ContainerDocument {
  return decodeJson(containerDocument, text);
}

/** @throws invalidArgument when the text is not what this engine wrote */
export function decodeKeptState(text: string): KeptState {
  return decodeJson(keptState, text);
}
