import { RateMeter } from '../base/rate.ts';
import type { ProgressDetail } from '../spec/docker/progress.ts';

/** What is carried for one layer: bytes of its blob, or of the delta that makes it. */
type Transfer = {
  /** Where it begins: what an earlier pull had is not counted again. */
  readonly fromByte: number;
  currentBytes: number;
  readonly sizeBytes: number;
  /** From the first bytes on: a layer may have waited for its turn. */
  meter: RateMeter | undefined;
};

/**
 * What a pull brings over the link, or a push sends: how much of how much, and how fast. A layer
 * counts with what is to be carried for it, which may change: a delta that cannot be used is
 * replaced by its layer.
 */
export class Transfers {
  readonly #clock: { readonly nowMs: () => number; readonly epochMs: () => number };
  readonly #byLayer = new Map<object, Transfer>();
  #link: RateMeter;

  /** `nowMs` counts evenly, `epochMs` is the date. */
  constructor(clock: { readonly nowMs: () => number; readonly epochMs: () => number }) {
    this.#clock = clock;
    this.#link = new RateMeter(clock.nowMs);
  }

  /** The link is used for layers from now on. */
  begin(): void {
    this.#link = new RateMeter(this.#clock.nowMs);
  }

  /** So much is to be carried for a layer in all, from `fromByte` on; 0 when nothing is. */
  expect(layer: object, sizeBytes: number, fromByte = 0): void {
    this.#byLayer.set(layer, { fromByte, currentBytes: fromByte, sizeBytes, meter: undefined });
  }

  /** Bytes went over the link. */
  moved(bytes: number): void {
    this.#link.add(bytes);
  }

  /** A layer has come, or gone, so far; what is to be said of that beside the numbers. */
  note(layer: object, currentBytes: number): Pick<ProgressDetail, 'start' | 'whole'> {
    const transfer = this.#byLayer.get(layer);
    if (transfer === undefined) return {};
    if (transfer.meter === undefined) transfer.meter = new RateMeter(this.#clock.nowMs);
    else transfer.meter.add(currentBytes - transfer.currentBytes);
    transfer.currentBytes = currentBytes;
    const bytesPerSec = transfer.meter.perSec() ?? 0;
    const whole = this.#whole();
    if (bytesPerSec < 1 || currentBytes === 0) return { whole };
    // Clients take the speed to be what came since the start.
    const start = Math.round(this.#clock.epochMs() / 1000 - currentBytes / bytesPerSec);
    return { start, whole };
  }

  /** Seconds until a layer is through at its speed; undefined when that cannot be told. */
  secondsLeft(layer: object): number | undefined {
    const transfer = this.#byLayer.get(layer);
    const bytesPerSec = transfer?.meter?.perSec() ?? 0;
    if (transfer === undefined || bytesPerSec < 1) return undefined;
    return (transfer.sizeBytes - transfer.currentBytes) / bytesPerSec;
  }

  #whole(): NonNullable<ProgressDetail['whole']> {
    let current = 0;
    let total = 0;
    for (const { fromByte, currentBytes, sizeBytes } of this.#byLayer.values()) {
      current += currentBytes - fromByte;
      total += sizeBytes - fromByte;
    }
    const bytesPerSec = this.#link.perSec();
    const speed = bytesPerSec === undefined ? {} : { bytesPerSec: Math.round(bytesPerSec) };
    return { current, total, ...speed };
  }
}
