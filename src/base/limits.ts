/**
 * Every bound of the engine, in one place. A bound is there so that no input, however hostile,
 * makes the engine take unbounded memory, disk or time. Units are in the names.
 */
export const LIMITS = {
  // --- HTTP API ---
  /** JSON request bodies of the API. A container's config is a few kB. */
  jsonBodyBytesMax: 4 << 20,
  /** Request headers, X-Registry-Config included. */
  headerBytesMax: 256 << 10,
  /** Events kept for `since`. */
  eventsKeptMax: 1024,
  /** What one slow client may lag behind before it is cut off. */
  streamBacklogBytesMax: 4 << 20,

  // --- registry ---
  manifestBytesMax: 4 << 20,
  imageConfigBytesMax: 8 << 20,
  tokenBytesMax: 1 << 20,
  errorBodyBytesMax: 8 << 10,
  redirectsMax: 10,

  // --- worker processes ---
  /** One message between the daemon and a worker; holds an image config in base64. */
  workerMessageBytesMax: 32 << 20,

  // --- images ---
  layersMax: 127,
  indexEntriesMax: 1024,

  // --- layer archives ---
  /** Entries of one layer. node_modules of a large app is 100,000. */
  tarEntriesMax: 4_000_000,
  tarPathBytesMax: 4096,
  tarLinkBytesMax: 4096,
  /** One PAX header or GNU long name block. */
  tarMetadataBytesMax: 1 << 20,
  tarXattrsMax: 256,
  /** Uncompressed bytes of one layer. */
  layerBytesMax: 2 ** 40,
  /** Depth of directories below a layer's root. */
  tarDepthMax: 1024,

  // --- containers ---
  execsKeptMax: 1024,
  logLineBytesMax: 16 << 10,
} as const;
