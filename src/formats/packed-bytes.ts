/** Bytes that are looked at: runs of so many, spread over the whole. */
const RUNS = 64;
const RUN_BYTES = 64;
const SAMPLE_BYTES = RUNS * RUN_BYTES;
/**
 * Pearson's chi-squared of the sample against 256 values that are equally frequent: about 255 for
 * noise, 260 to 900 for what gzip, zstd, xz, PNG or JPEG made; above 10,000 for programs and text.
 */
const CHI_SQUARED_MAX = 1000;

/**
 * True for bytes that compressing would make no smaller, because they are packed (or encrypted)
 * already: their values are as evenly spread as those of noise. False for a few kilobytes.
 */
export function looksPacked(bytes: Uint8Array): boolean {
  if (bytes.length < 2 * SAMPLE_BYTES) return false;
  const counts = new Uint32Array(256);
  const step = (bytes.length - RUN_BYTES) / (RUNS - 1);
  for (let run = 0; run < RUNS; run += 1) {
    const from = Math.floor(run * step);
    for (let at = from; at < from + RUN_BYTES; at += 1) {
      const value = bytes[at] ?? 0;
      counts[value] = (counts[value] ?? 0) + 1;
    }
  }
  let squares = 0;
  for (const count of counts) squares += count * count;
  return (squares * 256) / SAMPLE_BYTES - SAMPLE_BYTES < CHI_SQUARED_MAX;
}
