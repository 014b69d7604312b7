import { parseSizeBinary } from '../base/bytes.ts';
import { invalidArgument } from '../base/errors.ts';

/** Options of the storage driver. Names and texts: moby's and balenaEngine's overlay2. */
export type StorageOptions = {
  /** What each container may write, unless it says otherwise; 0 is unlimited. */
  readonly sizeBytes: number;
  /** False: layers are not written to the disk before the image appears. A power cut may damage it. */
  readonly syncDiffs: boolean;
};

/**
 * `--storage-opt` of the daemon.
 * @throws invalidArgument for an option or a value that is not known
 */
export function parseStorageOptions(words: readonly string[]): StorageOptions {
  let options: StorageOptions = { sizeBytes: 0, syncDiffs: true };
  for (const word of words) {
    const at = word.indexOf('=');
    if (at < 0) throw invalidArgument(`unable to parse storage-opt: "${word}"`);
    const key = word.slice(0, at).trim().toLowerCase();
    const value = word.slice(at + 1).trim();
    switch (key) {
      case 'overlay2.size':
        options = { ...options, sizeBytes: sizeOf(value) };
        break;
      case 'overlay2.sync_diffs':
        options = { ...options, syncDiffs: booleanOf(value) };
        break;
      case 'overlay2.override_kernel_check':
        break; // deprecated, and without effect in Docker too
      default:
        throw invalidArgument(`overlay2: unknown option ${key}`);
    }
  }
  return options;
}

/**
 * A container's `StorageOpt`: bytes that it may write, undefined for the daemon's.
 * @throws invalidArgument
 */
export function parseContainerSize(options: Readonly<Record<string, string>>): number | undefined {
  let size: number | undefined;
  for (const [name, value] of Object.entries(options)) {
    if (name.toLowerCase() !== 'size') throw invalidArgument(`Unknown option ${name}`);
    size = sizeOf(value);
  }
  return size;
}

function sizeOf(text: string): number {
  const bytes = parseSizeBinary(text);
  if (bytes === undefined || !Number.isSafeInteger(bytes)) {
    throw invalidArgument(`invalid size: '${text}'`);
  }
  return bytes;
}

/** Go's words. */
function booleanOf(text: string): boolean {
  if (/^(?:1|t|true)$/i.test(text)) return true;
  if (/^(?:0|f|false)$/i.test(text)) return false;
  throw invalidArgument(`strconv.ParseBool: parsing "${text}": invalid syntax`);
}
