import type { Digest } from '../base/digest.ts';
import { LIMITS } from '../base/limits.ts';
import type { InflatePoint } from '../kernel/resumable-inflate.ts';
import type { UnpackPlace } from '../kernel/unpack-thread.ts';
import type { LayerCheckpoint } from '../store/layers/layer-checkpoint.ts';

/** How often an extraction notes how far it has come. */
export type CheckpointPace = {
  readonly everyBytes: number;
  /** Not more often. */
  readonly everyMs: number;
  /** Fewer bytes do when they took long: each checkpoint is a write, but a cut may come first. */
  readonly slow?: { readonly everyBytes: number; readonly everyMs: number };
};

export const CHECKPOINT_PACE: CheckpointPace = {
  everyBytes: LIMITS.checkpointBytes,
  everyMs: LIMITS.checkpointMs,
  slow: { everyBytes: LIMITS.checkpointSlowBytes, everyMs: LIMITS.checkpointSlowMs },
};

/** What a checkpoint will say when all before it is on the disk. */
export type DueCheckpoint = Omit<LayerCheckpoint, 'headersBytes' | 'tail'>;

/**
 * Decides when an extraction is at a place to be gone on from. That takes three steps: the state of
 * the blob's digest before some piece of it, then a point between two blocks inside of that piece or
 * later, then the moment when all that the tar says up to that point is in headers and files.
 */
export class LayerCheckpoints {
  readonly #digest: Digest;
  readonly #pace: CheckpointPace;
  #lastBytes: number;
  /** Bytes of the blob at the checkpoint that is due. */
  #dueBytes = 0;
  readonly #nowMs: () => number;
  #lastMs: number;
  #hashed: { readonly bytes: number; readonly state: Buffer } | undefined;
  #pending: DueCheckpoint | undefined;
  #isAsked = false;

  /** `fromByte`: where the blob is begun. */
  constructor(
    digest: Digest,
    pace: CheckpointPace,
    fromByte: number,
    nowMs = (): number => performance.now(),
  ) {
    this.#digest = digest;
    this.#nowMs = nowMs;
    this.#lastMs = nowMs();
    this.#pace = pace;
    this.#lastBytes = fromByte;
  }

  /** The next piece of the blob begins at `bytes`; `state` gives the digest's state before it. */
  piece(bytes: number, state: () => Buffer): void {
    if (this.#pending !== undefined || !this.#isNext(bytes)) return;
    this.#hashed = { bytes, state: state() };
    this.#dueBytes = bytes;
  }

  #isNext(bytes: number): boolean {
    const { slow, ...fast } = this.#pace;
    const freshBytes = bytes - this.#lastBytes;
    const pastMs = this.#nowMs() - this.#lastMs;
    return [fast, slow].some(
      (pace) =>
        bytes > 0 && pace !== undefined && freshBytes >= pace.everyBytes && pastMs >= pace.everyMs,
    );
  }

  /** Where both are done elsewhere: the next piece begins at `bytes`. True: ask for a {@link place}. */
  wantsPlace(bytes: number): boolean {
    if (this.#pending !== undefined || this.#isAsked || !this.#isNext(bytes)) return false;
    this.#dueBytes = bytes;
    this.#isAsked = true;
    return true;
  }

  /** A place was asked for and has not come yet. */
  get isAsked(): boolean {
    return this.#isAsked;
  }

  /** The place that was asked for. */
  place({ point, hashState }: UnpackPlace): void {
    this.#isAsked = false;
    const { inputBytes: hashedBytes } = point;
    this.#wait({ compression: 'gzip', hashedBytes, hashState, point, dropBytes: 0 });
  }

  /** Inflating stands between two blocks. */
  block(compression: DueCheckpoint['compression'], point: () => InflatePoint): void {
    const hashed = this.#hashed;
    if (hashed === undefined || this.#pending !== undefined) return;
    const { bytes: hashedBytes, state: hashState } = hashed;
    this.#wait({ compression, hashedBytes, hashState, point: point(), dropBytes: 0 });
  }

  /** The same where inflating can only begin at an earlier place, and goes by its digest's state. */
  restart(place: () => Omit<DueCheckpoint, 'digest'>): void {
    if (this.#hashed !== undefined && this.#pending === undefined) this.#wait(place());
  }

  #wait(place: Omit<DueCheckpoint, 'digest'>): void {
    this.#hashed = undefined;
    this.#pending = { digest: this.#digest, ...place };
  }

  /** Headers and files stand for `tarBytes`. True when a checkpoint is due. */
  isDue(tarBytes: number): boolean {
    return this.#pending !== undefined && tarBytes >= this.#pending.point.outputBytes;
  }

  /** What is due; the next one is counted from here. */
  take(): DueCheckpoint | undefined {
    const due = this.#pending;
    this.#pending = undefined;
    this.#lastMs = this.#nowMs();
    if (due !== undefined) this.#lastBytes = this.#dueBytes;
    return due;
  }
}
