import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { formatTimeNs } from '../../base/clock.ts';
import { invalidArgument, notFound } from '../../base/errors.ts';
import { type ContainerId, NAME_PATTERN, newId } from '../../base/id.ts';
import { checkConfig, commandOf, mergeConfig } from '../../policy/container-config.ts';
import { generatedName } from '../../policy/container-names.ts';
import { BARE_RUNTIME, checkHostConfig } from '../../policy/host-config.ts';
import { mergeLogConfig, planLog } from '../../policy/log-options.ts';
import { MASKED_PATHS, READONLY_PATHS } from '../../policy/masked-paths.ts';
import {
  formatPlatform,
  hostPlatform,
  parsePlatform,
  platformRank,
} from '../../policy/platform.ts';
import { defaultMemorySwap } from '../../policy/resources.ts';
import { parseSecurityOptions } from '../../policy/security-options.ts';
import { parseContainerSize } from '../../policy/storage-options.ts';
import { decodeJson } from '../../spec/decode.ts';
import type { ContainerConfig, CreateRequest, HostConfig } from '../../spec/docker/container.ts';
import type { ContainerCreateResult } from '../../spec/docker/container-view.ts';
import { type ImageConfig, imageConfig } from '../../spec/oci/image.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { getImage } from '../images/resolve.ts';
import type { MountPoint } from '../volumes/volumes.ts';
import { Container } from './container.ts';
import { type ContainerDocument, FRESH_STATE } from './document.ts';
import { containerEvent } from './events.ts';
import { hostConfigFacts } from './host-config-facts.ts';
import { checkBorrowedNamespaces } from './namespaces.ts';
import { containerPaths } from './paths.ts';
import { saveNew } from './persistence.ts';

export type ContainerCreateArgs = {
  readonly query: { readonly name: string; readonly platform: string };
  readonly body: CreateRequest;
};

/** Names tried before a digit is added. */
const NAME_TRIES = 6;

/**
 * Makes a container from an image: everything is checked first, then its name is taken, its
 * volumes and its writable layer are made, and one write makes it appear.
 * @throws notFound for the image; conflict for the name; invalidArgument for what makes no sense
 */
export async function containerCreate(
  engine: Engine,
  args: ContainerCreateArgs,
  _call: Call,
): Promise<ContainerCreateResult> {
  const { query, body } = args;
  const givenName = checkName(query.name);
  const { image } = getImage(engine, body.Image);
  // The image may be removed while this waits: its layers stay until the container keeps them.
  using _held = engine.layers.hold(image.diffIds);
  const parsed = decodeJson(imageConfig, Buffer.from(image.config).toString('utf8'));
  const warnings = checkPlatform(body.Image, parsed, query.platform);
  const config = checkConfig(mergeConfig(ownConfig(body), parsed.config));
  const checked = checkHostConfig(body.HostConfig, config, hostConfigFacts(engine));
  warnings.push(...checked.warnings);

  const id = newId(engine.random) as ContainerId;
  const { name, reservation } = takeName(engine, givenName, id);
  using _name = reservation;
  const hostConfig = completeHostConfig(engine, checked.hostConfig);
  planLog(hostConfig.LogConfig);
  checkBorrowedNamespaces(engine, hostConfig);
  engine.networks.check({
    mode: hostConfig.NetworkMode,
    endpoints: body.NetworkingConfig.EndpointsConfig,
  });
  const settled = settleConfig(config, hostConfig, id);
  const mounts = await engine.volumes.resolve({
    id,
    hostConfig,
    anonymous: Object.keys(config.Volumes),
    volumesFrom: (reference) => engine.containers.get(reference).document.mounts,
  });
  try {
    const container = new Container({
      id,
      name,
      document: documentOf({ engine, image, config: settled, hostConfig, body, mounts }),
      kept: FRESH_STATE,
    });
    await makeFilesystem(engine, container);
    engine.containers.add(container);
    containerEvent(engine, container, 'create');
    return { Id: id, Warnings: warnings };
  } catch (error) {
    await engine.volumes.forget(id, true);
    throw error;
  }
}

function checkName(text: string): string {
  const name = text.replace(/^\//, '');
  if (text !== '' && !NAME_PATTERN.test(name)) {
    throw invalidArgument(
      `Invalid container name (${text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  }
  return name;
}

/**
 * A warning for an image of another architecture, which may run by emulation.
 * @throws notFound when the user asked for a platform and the image is of another
 */
function checkPlatform(reference: string, image: ImageConfig, wanted: string): string[] {
  const host = hostPlatform(process.arch);
  const { os, architecture, variant } = image;
  if (architecture === '') return [];
  const have = { os: os || 'linux', architecture, variant };
  const want = wanted === '' ? host : parsePlatform(wanted, host);
  if (platformRank(want, have) !== undefined) return [];
  if (wanted !== '') {
    throw notFound(
      `image with reference ${reference} was found but its platform (${formatPlatform(have)}) does not match the specified platform (${formatPlatform(want)})`,
    );
  }
  return [
    `The requested image's platform (${formatPlatform(have)}) does not match the detected host platform (${formatPlatform(host)}) and no specific platform was requested`,
  ];
}

function takeName(
  engine: Engine,
  given: string,
  id: ContainerId,
): { name: string; reservation: Disposable } {
  if (given !== '') return { name: given, reservation: engine.containers.reserveName(given, id) };
  for (let attempt = 0; ; attempt += 1) {
    const digit = attempt < NAME_TRIES ? 0 : attempt;
    const name = generatedName(engine.random.bytes(4), digit);
    if (engine.containers.isNameFree(name)) {
      return { name, reservation: engine.containers.reserveName(name, id) };
    }
  }
}

/** The request without what embeds it. */
function ownConfig(body: CreateRequest): ContainerConfig {
  const { HostConfig: _host, NetworkingConfig: _net, ...config } = body;
  return config;
}

/** What Docker's inspect shows of a HostConfig whose user left things open. */
function completeHostConfig(engine: Engine, host: HostConfig): HostConfig {
  const config = engine.config();
  const unconfined =
    host.Privileged || parseSecurityOptions(host.SecurityOpt ?? []).systemPathsUnconfined;
  const defaultCgroupns =
    config.defaultCgroupnsMode || (engine.host.cgroups.version === 2 ? 'private' : 'host');
  return {
    ...host,
    LogConfig: mergeLogConfig(host.LogConfig, config.logConfig),
    NetworkMode: ['', 'default'].includes(host.NetworkMode) ? 'bridge' : host.NetworkMode,
    RestartPolicy: { ...host.RestartPolicy, Name: host.RestartPolicy.Name || 'no' },
    Runtime: host.Runtime || config.defaultRuntime,
    IpcMode: host.IpcMode || config.defaultIpcMode,
    // A host boots from it with its own users.
    UsernsMode:
      host.Runtime === BARE_RUNTIME && engine.remap !== undefined ? 'host' : host.UsernsMode,
    CgroupnsMode: host.CgroupnsMode || (host.Privileged ? 'host' : defaultCgroupns),
    ShmSize: host.ShmSize || config.defaultShmSizeBytes,
    ConsoleSize: host.ConsoleSize.length === 2 ? host.ConsoleSize : [0, 0],
    MaskedPaths: host.MaskedPaths ?? (unconfined ? [] : [...MASKED_PATHS]),
    ReadonlyPaths: host.ReadonlyPaths ?? (unconfined ? [] : [...READONLY_PATHS]),
    MemorySwap:
      host.Memory > 0 && host.MemorySwap === 0 ? defaultMemorySwap(host.Memory) : host.MemorySwap,
  };
}

/** The config with its host name: the short ID unless it has, or borrows, another. */
function settleConfig(config: ContainerConfig, host: HostConfig, id: string): ContainerConfig {
  const borrows =
    host.NetworkMode === 'host' ||
    host.NetworkMode.startsWith('container:') ||
    host.UTSMode === 'host';
  const Hostname = config.Hostname !== '' || borrows ? config.Hostname : id.slice(0, 12);
  return { ...config, Hostname };
}

function documentOf(args: {
  engine: Engine;
  image: ImageRecord;
  config: ContainerConfig;
  hostConfig: HostConfig;
  body: CreateRequest;
  mounts: readonly MountPoint[];
}): ContainerDocument {
  return {
    created: formatTimeNs(args.engine.clock.nowNs()),
    imageId: args.image.id,
    layers: [...args.image.diffIds],
    config: args.config,
    hostConfig: args.hostConfig,
    networking: args.body.NetworkingConfig,
    disconnected: [],
    mounts: [...args.mounts],
    ...commandOf(args.config),
  };
}

async function makeFilesystem(engine: Engine, container: Container): Promise<void> {
  const isBare = container.document.hostConfig.Runtime === BARE_RUNTIME;
  await engine.layers.createRootfs(container.id, container.document.layers, {
    forBoot: isBare,
    sizeBytes: parseContainerSize(container.document.hostConfig.StorageOpt ?? {}),
    prepare: (upper) => {
      // Programs tell by it that they run in a container.
      if (!isBare) writeFileSync(path.join(upper, '.dockerenv'), '', { mode: 0o755 });
    },
  });
  const paths = containerPaths(engine, container.id);
  try {
    mkdirSync(paths.run, { recursive: true, mode: 0o711 });
    engine.database.transaction(() => {
      saveNew(engine, container);
      engine.volumes.recordInTransaction(container.document.mounts);
    });
  } catch (error) {
    rmSync(paths.run, { recursive: true, force: true });
    await engine.layers.removeRootfs(container.id);
    throw error;
  }
}
