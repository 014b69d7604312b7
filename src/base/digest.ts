import { invalidArgument } from './errors.ts';

/**
 * Content addresses (OCI image-spec, descriptor.md). All are `sha256:` + 64 lowercase hex digits;
 * the brands keep the compiler from mixing up what was hashed.
 */

/** sha256 of a blob as stored in a registry: a compressed layer, a config, a manifest. */
export type Digest = string & { readonly __brand: 'Digest' };
/** sha256 of a layer's uncompressed tar. */
export type DiffId = string & { readonly __brand: 'DiffId' };
/** A layer together with all layers below it (OCI config.md, "Layer ChainID"). */
export type ChainId = string & { readonly __brand: 'ChainId' };
/** sha256 of an image's config: the image's ID. */
export type ImageId = string & { readonly __brand: 'ImageId' };

const SHA256 = /^sha256:[0-9a-f]{64}$/;

/** True for `sha256:` + 64 lowercase hex digits. */
export function isSha256(text: string): boolean {
  return SHA256.test(text);
}

function parse(text: string, what: string): string {
  if (SHA256.test(text)) return text;
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  if (/^[a-z0-9+._-]+:[0-9a-fA-F]+$/.test(text) && !text.startsWith('sha256:')) {
    throw invalidArgument(`unsupported digest algorithm in ${what} "${shown}": use sha256`);
  }
  throw invalidArgument(`invalid ${what} "${shown}": want sha256: and 64 hex digits`);
}

/** @throws invalidArgument */
export const parseDigest = (text: string): Digest => parse(text, 'digest') as Digest;
/** @throws invalidArgument */
export const parseDiffId = (text: string): DiffId => parse(text, 'diffID') as DiffId;
/** @throws invalidArgument */
export const parseImageId = (text: string): ImageId => parse(text, 'image ID') as ImageId;

/** The 64 hex digits. */
export function hexOf(digest: Digest | DiffId | ChainId | ImageId): string {
  return digest.slice('sha256:'.length);
}

/** The first 12 hex digits, as Docker's clients show an ID. */
export function shortId(id: string): string {
  const hex = id.startsWith('sha256:') ? id.slice(7) : id;
  return hex.slice(0, 12);
}
