/** The version, kept equal to package.json's by a test. */
export const VERSION = '0.1.0';

declare global {
  /** Set by the bundler. */
  var coracleCommit: string | undefined;
}

/** Commit that this was built from; `-dirty` when the sources had changed since. */
export const COMMIT: string = globalThis.coracleCommit ?? 'unknown';

/** What `--version` prints. */
export const VERSION_TEXT = `Coracle version ${VERSION}, build ${COMMIT}`;
