import { invalidArgument } from '../base/errors.ts';

/**
 * Platforms, and which of an index's images fits best. Words and order of variants follow
 * containerd's `platforms` package, which Docker uses.
 */
export type ImagePlatform = {
  readonly os: string;
  /** GOARCH: amd64, arm64, arm, 386, riscv64, ppc64le, s390x … */
  readonly architecture: string;
  /** v5 … v8 for arm and arm64, v1 … v4 for amd64; '' where it does not matter. */
  readonly variant: string;
};

const ARCHITECTURE: ReadonlyMap<string, readonly [string, string]> = new Map([
  ['x86_64', ['amd64', '']],
  ['x86-64', ['amd64', '']],
  ['x64', ['amd64', '']],
  ['amd64', ['amd64', '']],
  ['i386', ['386', '']],
  ['i686', ['386', '']],
  ['ia32', ['386', '']],
  ['aarch64', ['arm64', '']],
  ['armhf', ['arm', 'v7']],
  ['armel', ['arm', 'v6']],
  ['arm', ['arm', 'v7']],
]);

function normalize(platform: ImagePlatform): ImagePlatform {
  const given = platform.architecture.toLowerCase();
  const [architecture, implied] = ARCHITECTURE.get(given) ?? [given, ''];
  let variant = platform.variant.toLowerCase();
  if (/^\d$/.test(variant)) variant = `v${variant}`;
  if (variant === '') variant = implied;
  if (architecture === 'arm64' && variant === 'v8') variant = '';
  if (architecture === 'amd64' && variant === 'v1') variant = '';
  return { os: platform.os.toLowerCase(), architecture, variant };
}

/**
 * Reads `linux/arm64`, `arm64`, `linux/arm/v7`, as `--platform` takes it.
 * @throws invalidArgument
 */
export function parsePlatform(text: string, host: ImagePlatform): ImagePlatform {
  const parts = text.split('/');
  if (parts.length > 3 || !parts.every((part) => /^[A-Za-z0-9_.-]+$/.test(part))) {
    throw invalidArgument(
      `"${text.slice(0, 100)}": unknown operating system or architecture: invalid argument`,
    );
  }
  const [first = '', second, third] = parts;
  if (second !== undefined) {
    return normalize({ os: first, architecture: second, variant: third ?? '' });
  }
  const isOs = /^(linux|windows|darwin|freebsd|netbsd|openbsd|solaris|aix|plan9)$/i.test(first);
  if (isOs) return { ...host, os: first.toLowerCase() };
  return normalize({ os: host.os, architecture: first, variant: '' });
}

/** `linux/arm/v7`. */
export function formatPlatform(platform: ImagePlatform): string {
  const { os, architecture, variant } = platform;
  return variant === '' ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** The platform of a machine, from Node's `process.arch` and its arm version (`6`, `7`). */
export function hostPlatform(nodeArch: string, armVersion?: string): ImagePlatform {
  const variant = nodeArch === 'arm' && armVersion !== undefined ? `v${armVersion}` : '';
  const names: Readonly<Record<string, string>> = { mips64el: 'mips64le', mipsel: 'mipsle' };
  return normalize({ os: 'linux', architecture: names[nodeArch] ?? nodeArch, variant });
}

function variantNumber(variant: string, bare: number): number {
  const m = /^v(\d)/.exec(variant);
  return m === null ? bare : Number(m[1]);
}

/**
 * How well an image for `have` runs where `want` is wanted: 0 is best, undefined not at all. A
 * newer arm runs what was built for an older one, arm64 what was built for arm, and amd64 what was
 * built for 386 (containerd's `platforms.Only`).
 */
export function platformRank(want: ImagePlatform, have: ImagePlatform): number | undefined {
  const wanted = normalize(want);
  const given = normalize(have);
  if (wanted.os !== given.os) return undefined;
  if (wanted.architecture === given.architecture) {
    const bare = wanted.architecture === 'amd64' ? 1 : wanted.architecture === 'arm64' ? 8 : 7;
    const distance = variantNumber(wanted.variant, bare) - variantNumber(given.variant, bare);
    if (wanted.variant === given.variant) return 0;
    return distance < 0 ? undefined : distance;
  }
  if (wanted.architecture === 'arm64' && given.architecture === 'arm') {
    return 10 + 8 - variantNumber(given.variant, 7);
  }
  if (wanted.architecture === 'amd64' && given.architecture === '386') return 10;
  return undefined;
}

/** The best of `items` for `want`; the first of equals. Items without a platform are left out. */
export function choosePlatform<T>(
  items: readonly T[],
  platformOf: (item: T) => ImagePlatform | null,
  want: ImagePlatform,
): T | undefined {
  let best: T | undefined;
  let bestRank = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const platform = platformOf(item);
    const rank = platform === null ? undefined : platformRank(want, platform);
    if (rank !== undefined && rank < bestRank) {
      best = item;
      bestRank = rank;
    }
  }
  return best;
}
