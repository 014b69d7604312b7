import { addressOf, processFunctions } from './ffi-node.ts';

/**
 * SHA-256 whose state can be kept and gone on from, which node:crypto's cannot: OpenSSL's
 * SHA256_CTX, 112 bytes. struct: u32 h[8], Nl, Nh, data[16], num, md_len (openssl/sha.h).
 */
export const SHA256_STATE_BYTES = 112;
const DIGEST_BYTES = 32;

const openssl = (): ReturnType<typeof load> => {
  functions ??= { found: load() };
  return functions.found;
};
let functions: { readonly found: ReturnType<typeof load> } | undefined;

function load() {
  return processFunctions({
    init: 'int SHA256_Init(void *context)',
    update: 'int SHA256_Update(void *context, void *data, size_t bytes)',
    final: 'int SHA256_Final(void *digest, void *context)',
  });
}

/** A digest under way. */
export class ResumableSha256 {
  readonly #native: NonNullable<ReturnType<typeof load>>;
  readonly #state: Buffer;

  private constructor(native: NonNullable<ReturnType<typeof load>>, state: Buffer) {
    this.#native = native;
    this.#state = state;
  }

  /** A new one, or one that goes on from a state; undefined where OpenSSL cannot be reached. */
  static open(state?: Uint8Array): ResumableSha256 | undefined {
    const native = openssl();
    if (native === undefined) return undefined;
    const own = Buffer.alloc(SHA256_STATE_BYTES);
    if (state === undefined) native.init(own);
    else own.set(state.subarray(0, SHA256_STATE_BYTES));
    return new ResumableSha256(native, own);
  }

  update(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#native.update(this.#state, addressOf(bytes), bytes.length);
  }

  /** The state as it is now. */
  state(): Buffer {
    return Buffer.from(this.#state);
  }

  /** Ends it. */
  digest(): Buffer {
    const digest = Buffer.alloc(DIGEST_BYTES);
    this.#native.final(digest, this.#state);
    return digest;
  }
}
