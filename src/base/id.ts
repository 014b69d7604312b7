/** 64 lowercase hex digits: IDs of containers, networks and execs. */
export type ContainerId = string & { readonly __brand: 'ContainerId' };
export type NetworkId = string & { readonly __brand: 'NetworkId' };
export type ExecId = string & { readonly __brand: 'ExecId' };

/** Randomness, passed in so that tests can repeat it. */
export type Random = {
  /** `n` random bytes. */
  readonly bytes: (n: number) => Uint8Array;
};

/**
 * 64 hex digits. As Docker does, an ID whose first 12 digits are all decimal is drawn again, so
 * that a short ID is never taken for a number (a container's host name is its short ID).
 */
export function newId(random: Random): string {
  for (;;) {
    const id = Buffer.from(random.bytes(32)).toString('hex');
    if (!/^\d{12}/.test(id)) return id;
  }
}

/** A lowercase base32 name of `length` characters for a directory. */
export function newShortName(random: Random, length: number): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  return Array.from(random.bytes(length), (b) => alphabet[b & 31]).join('');
}

/** Container names as Docker accepts them (without the leading slash). */
export const NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
