import type { TarXattr } from './tar-pax.ts';

/**
 * Extended attributes as an EROFS image has them; all integers are little-endian.
 *
 *   xattr = u8 bytes of the name, u8 prefix, u16 bytes of the value, name, value, to 4 bytes
 *
 * The name is without its prefix, which has a number.
 */

const HEAD_BYTES = 4;

/** Longer ones first: the first that fits is the one. */
const PREFIXES = [
  ['system.posix_acl_access', 2],
  ['system.posix_acl_default', 3],
  ['security.', 6],
  ['trusted.', 4],
  ['user.', 1],
] as const;

/** True for an attribute that an image can hold. */
export function isErofsXattr({ name, value }: TarXattr): boolean {
  const known = split(name);
  return known !== undefined && Buffer.byteLength(known.suffix) <= 255 && value.length < 0x1_0000;
}

function split(name: string): { readonly prefix: number; readonly suffix: string } | undefined {
  for (const [text, prefix] of PREFIXES) {
    const isWhole = !text.endsWith('.');
    if (isWhole ? name === text : name.startsWith(text) && name.length > text.length) {
      return { prefix, suffix: name.slice(text.length) };
    }
  }
  return undefined;
}

/** All that it takes. */
export function xattrBytes(xattr: TarXattr): number {
  return Math.ceil((xattrHeadBytes(xattr) + xattr.value.length) / 4) * 4;
}

/** What precedes its value. */
export function xattrHeadBytes({ name }: TarXattr): number {
  return HEAD_BYTES + Buffer.byteLength(split(name)?.suffix ?? '');
}

/** Writes what precedes its value. */
export function writeXattrHead({ name, value }: TarXattr, target: Buffer, at: number): void {
  const known = split(name);
  if (known === undefined) throw new Error(`assertion failed: an image holds no ${name}`);
  target[at] = target.write(known.suffix, at + HEAD_BYTES);
  target[at + 1] = known.prefix;
  target.writeUInt16LE(value.length, at + 2);
}
