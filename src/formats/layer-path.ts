import { invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type ByteString, toText } from './byte-string.ts';

/**
 * Paths of layer entries, and the names that mean something else than a file. Source: OCI
 * image-spec layer.md, "Whiteouts".
 */

const PLAIN = /(?:^|\/)\.{0,2}(?:\/|$)/;

/**
 * The path below the layer's root, without `.`, `..`, empty parts and slashes at its ends; '' is
 * the root itself. An absolute path starts at the layer's root. Symlinks are not looked at.
 * @throws invalidArgument when it climbs out of the layer
 */
export function cleanLayerPath(path: ByteString): ByteString {
  let text: string = path;
  if (text.startsWith('./')) text = text.slice(2);
  if (text.endsWith('/')) text = text.slice(0, -1);
  const clean = PLAIN.test(text) ? resolveDots(text, path) : text;
  if (clean.length > LIMITS.tarDepthMax) checkDepth(clean as ByteString);
  return clean as ByteString;
}

function resolveDots(text: string, path: ByteString): string {
  const isAbsolute = path.startsWith('/');
  const parts: string[] = [];
  for (const part of text.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined && !isAbsolute) {
      throw invalidArgument(
        `invalid tar entry ${JSON.stringify(toText(path))}: it leaves the layer`,
      );
    }
  }
  return parts.join('/');
}

function checkDepth(path: ByteString): void {
  const depth = path.split('/').length;
  if (depth <= LIMITS.tarDepthMax) return;
  throw invalidArgument(`tar entry ${depth} directories deep; at most ${LIMITS.tarDepthMax} work`);
}

/** Splits a clean path other than '' into the folder ('' is the root) and the last name. */
export function splitLayerPath(path: ByteString): { parent: ByteString; name: ByteString } {
  const slash = path.lastIndexOf('/');
  return slash < 0
    ? { parent: '' as ByteString, name: path }
    : {
        parent: path.slice(0, slash) as ByteString,
        name: path.slice(slash + 1) as ByteString,
      };
}

const WHITEOUT = '.wh.';
const META = '.wh..wh.';
const OPAQUE = '.wh..wh..opq';

/**
 * What a name in a layer stands for: `opaque` hides everything that lower layers have in its
 * folder, `whiteout` hides `target`, `ignored` is bookkeeping of aufs.
 */
export type LayerName =
  | { readonly kind: 'plain' | 'opaque' | 'ignored' }
  | { readonly kind: 'whiteout'; readonly target: ByteString };

const PLAIN_NAME: LayerName = { kind: 'plain' };

/** @throws invalidArgument for a whiteout of no name, or of `.` and `..` */
export function classifyLayerName(name: ByteString): LayerName {
  if (!name.startsWith(WHITEOUT)) return PLAIN_NAME;
  if (name === OPAQUE) return { kind: 'opaque' };
  if (name.startsWith(META)) return { kind: 'ignored' };
  const target = name.slice(WHITEOUT.length) as ByteString;
  if (target === '' || target === '.' || target === '..') {
    throw invalidArgument(`invalid whiteout ${JSON.stringify(toText(name))} in a layer`);
  }
  return { kind: 'whiteout', target };
}

/**
 * True for attributes that steer overlayfs itself, or stand in for it. A layer must not bring its own:
 * a redirect could reach into other layers.
 */
export function isReservedXattr(name: string): boolean {
  return /^(?:trusted\.overlay|user\.overlay|trusted\.coracle)\./.test(name);
}
