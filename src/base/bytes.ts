/**
 * Sizes as Docker's flags take them and its tables show them. Source: docker/go-units, size.go.
 */

function scaled(value: number, base: number, units: readonly string[], digits: number): string {
  let i = 0;
  let v = value;
  while (v >= base && i < units.length - 1) {
    v /= base;
    i += 1;
  }
  return `${Number(v.toPrecision(digits))}${units[i]}`;
}

/** Decimal, four significant digits at the most: `1.093MB`, `0B`. Go's `%.4g`. */
export function humanSize(bytes: number, digits = 4): string {
  return scaled(bytes, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'], digits);
}

/** Binary, four significant digits: `512KiB`, `1.5GiB`. */
export function humanSizeBinary(bytes: number): string {
  return scaled(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'], 4);
}

const SIZE = /^(\d+(?:\.\d+)?|\.\d+) ?([kKmMgGtTpP])?[iI]?[bB]?$/;

/** Bytes of `512m`, `1.5 GiB`, `64`: units are powers of 1024 (go-units' RAMInBytes); undefined when it is not a size. */
export function parseSizeBinary(text: string): number | undefined {
  const m = SIZE.exec(text);
  if (m === null) return undefined;
  const power = m[2] === undefined ? 0 : ' kmgtp'.indexOf(m[2].toLowerCase());
  return Math.trunc(Number(m[1]) * 1024 ** power);
}

/** Like {@link parseSizeBinary} with powers of 1000 (go-units' FromHumanSize). */
export function parseSizeDecimal(text: string): number | undefined {
  const m = SIZE.exec(text);
  if (m === null) return undefined;
  const power = m[2] === undefined ? 0 : ' kmgtp'.indexOf(m[2].toLowerCase());
  return Math.trunc(Number(m[1]) * 1000 ** power);
}
