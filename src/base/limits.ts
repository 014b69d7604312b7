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
  /** Path and query of a request. */
  requestTargetBytesMax: 64 << 10,
  /** How long a client may take to send the headers of a request, and a JSON body. */
  requestHeadersMs: 20_000,
  requestBodyMs: 60_000,
  /** What is read of the body of a refused request, so that the client comes to read the answer. */
  refusedBodyBytesMax: 64 << 20,
  refusedBodyMs: 500,
  /** Idle connections are kept for this long. */
  keepAliveMs: 300_000,
  /** Connections to one listener. */
  apiConnectionsMax: 2048,
  /** Progress bars are left out while a client has this much unread. */
  progressBacklogBytesMax: 64 << 10,
  /** A JSON answer that the client reads. */
  answerBytesMax: 256 << 20,
  /** An error's sentence, which may hold what a client sent. */
  errorMessageCharsMax: 2048,
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
  /** Head of a registry's response; signed URLs in Location take a few kB. */
  httpHeadBytesMax: 64 << 10,
  httpLineBytesMax: 4 << 10,
  /** Without one byte from a registry for so long, the connection is given up. */
  registryStallMs: 30_000,
  /** Kept in memory for each upload, to be sent again. */
  uploadPieceBytes: 4 << 20,
  registryConnectMs: 15_000,
  /** A download that gained so many bytes starts counting its attempts anew. */
  linkProgressBytes: 256 << 10,
  /** A link's speed is measured each time that so much has come, and slow when below this. */
  linkSampleBytes: 256 << 10,
  slowLinkBytesPerSec: 512 << 10,
  /** Layers that are fetched at once on a slow link have no more than this together. */
  slowLinkLayerBytes: 1 << 20,
  /** Longest pause between attempts, and the longest Retry-After that is obeyed. */
  retryDelayMsMax: 60_000,

  // --- deltas ---
  /** What a delta says of itself: two lists of layers, and the target's config in base64. */
  deltaEnvelopeBytesMax: 12 << 20,
  deltaReportBytesMax: 16 << 20,
  /** Deltas that a pull looks at, of those whose base is here. */
  deltasTriedMax: 4,
  /** Times that an entry is written into a list of referrers that others write over. */
  referrerListAttempts: 5,
  /** Deltas to one image that are shown. */
  deltasInspectedMax: 16,

  // --- worker processes ---
  /** One message between the daemon and a worker; holds an image config in base64. */
  workerMessageBytesMax: 32 << 20,

  // --- images ---
  layersMax: 127,
  indexEntriesMax: 1024,
  /** Tags of one repository, for a pull of all. */
  tagsMax: 10_000,
  /** Repositories of a registry that a search looks through. */
  catalogEntriesMax: 10_000,

  // --- layer archives ---
  /** Entries of one layer. node_modules of a large app is 100,000. */
  tarEntriesMax: 4_000_000,
  tarPathBytesMax: 4096,
  tarLinkBytesMax: 4096,
  /** One PAX header or GNU long name block. */
  tarMetadataBytesMax: 1 << 20,
  tarXattrsMax: 256,
  /** Padding after the blocks of zeros that end an archive. */
  tarTrailerBytesMax: 16 << 20,
  /** Contents of one layer that lie apart because another entry took their path. */
  layerReplacedMax: 65_536,
  /** Contents of one layer that others can share, and contents of all layers that are looked through. */
  layerContentsMax: 262_144,
  sharedContentsMax: 524_288,
  /** Names of a layer that are kept in memory to become an image, and the bytes of what they are. */
  layerImageNamesMax: 49_152,
  layerImageBytesMax: 16 << 20,
  /** A layer being pulled notes how far it has come after so many bytes, and not more often than this. */
  checkpointBytes: 4 << 20,
  checkpointMs: 3_000,
  /** The same of a link so slow that the power may not last for as many bytes. */
  checkpointSlowBytes: 512 << 10,
  checkpointSlowMs: 20_000,
  /** Parts of layers that are kept for the next pull, and for how long. */
  partialLayersMax: 8,
  partialLayerMs: 14 * 24 * 3600 * 1000,
  /** Whole layers of such pulls. */
  leasedLayersMax: 256,
  /** Uncompressed bytes of one layer. */
  layerBytesMax: 2 ** 40,
  /** Depth of directories below a layer's root. */
  tarDepthMax: 1024,

  // --- builds ---
  dockerfileBytesMax: 1 << 20,
  /** Instructions of a Dockerfile; ONBUILD triggers of one base image. */
  buildStepsMax: 1024,
  /** Builds at once. */
  buildsMax: 16,
  /** Files of a build context, unpacked, and how many there are. */
  buildContextBytesMax: 64 * 2 ** 30,
  buildContextEntriesMax: 1_000_000,
  ignorePatternsMax: 4096,
  /** Names that one build gives its image. */
  buildTagsMax: 128,

  // --- networks ---
  /** One DNS message over UDP, either way. */
  dnsUdpBytesMax: 4096,
  /** Questions to the host's resolvers under way, in all and for one container. */
  dnsPendingMax: 1024,
  dnsPendingPerContainerMax: 256,
  dnsCacheEntriesMax: 512,
  dnsCachedReplyBytesMax: 2048,
  dnsCacheSecMax: 300,
  /** Resolvers that are asked in turn, each for so long. Clients give up after 5 s. */
  dnsUpstreamsMax: 3,
  dnsUpstreamTimeoutMs: 2_000,
  dnsForwarderIdleMs: 10_000,
  dnsTcpConnectionsMax: 32,
  dnsTcpIdleMs: 10_000,

  // --- image archives ---
  archiveFilesMax: 65_536,
  archiveLayersMax: 4096,
  /** Configs and manifests of one archive, which are kept in memory until it is read. */
  archiveSmallFilesBytesMax: 64 << 20,

  // --- containers ---
  /** A runtime that has not come back after so long is killed; hooks of its may load drivers. */
  runtimeStartMs: 120_000,
  /** The same of one that a daemon finds at its start, which waits for it before it answers anybody. */
  runtimeRejoinMs: 10_000,
  /** /etc/passwd and /etc/group of an image. */
  accountFileBytesMax: 4 << 20,
  /** Output of one health probe that is kept. */
  healthOutputBytesMax: 4096,
  execsKeptMax: 1024,
  logLineBytesMax: 16 << 10,
} as const;
