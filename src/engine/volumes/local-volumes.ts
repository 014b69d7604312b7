import { existsSync, lstatSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { formatTimeMs } from '../../base/clock.ts';
import { conflict, internal, invalidArgument, messageOf, notFound } from '../../base/errors.ts';
import { newId, newShortName } from '../../base/id.ts';
import { fsyncDirectory } from '../../kernel/durable.ts';
import { makeFolders } from '../../kernel/make-folders.ts';
import { isMountPoint } from '../../kernel/mountinfo.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import {
  checkVolumeName,
  isVolumeName,
  type MountWish,
  mountWishes,
  parseVolumesFrom,
} from '../../policy/mounts.ts';
import { checkVolumeOptions, localMount } from '../../policy/volume-options.ts';
import { treeSize } from '../../store/layers/tree-size.ts';
import type { Engine } from '../engine.ts';
import { copyUp } from './copy-up.ts';
import { ANONYMOUS_LABEL, decodeVolume, encodeVolume, type Volume } from './volume.ts';
import { mountVolume, unmountVolume } from './volume-mount.ts';
import type { MountPoint, Volumes, VolumeWish } from './volumes.ts';

/**
 * Volumes of the local driver: `volumes/NAME/_data` and a row.
 *
 * Order, so that a power cut leaves each volume as before or as after:
 *   create   folder in staging, rename, sync the parent, row; the row of an anonymous one is written
 *            with its container's
 *   copy-up  copy to `_new` beside `_data`, sync, exchange (copy-up.ts)
 *   remove   rename to staging, sync the parent, row away, delete; the row of one that goes with its
 *            container says so from when the container's is away
 * At start, a row without a folder goes away (a removal that was cut off), and a volume that was to
 * go with its container; an empty folder without
 * a row too (a creation that was cut off). A folder with content and no row is taken in again:
 * data of a user is never deleted unasked.
 *
 * References are not stored: the containers know their mounts, and `adopt` counts them at start.
 */
type Context = Pick<
  Engine,
  'sys' | 'dataRoot' | 'store' | 'clock' | 'random' | 'log' | 'locks' | 'events' | 'tasks'
>;

/** The row of a volume that is made for a container can wait for the container's. */
type OwnWish = VolumeWish & { readonly isRecordedLater?: boolean };

export class LocalVolumes implements Volumes {
  readonly #engine: Context;
  readonly #volumes = new Map<string, Volume>();
  /** Volume name to the containers that refer to it. */
  readonly #users = new Map<string, Set<string>>();
  /** Volume name to the running containers that have it mounted. */
  readonly #active = new Map<string, Set<string>>();
  /** Made for a container whose record is not written yet. */
  readonly #unrecorded = new Set<string>();

  constructor(engine: Context) {
    this.#engine = engine;
  }

  #folder(name: string): string {
    return path.join(this.#engine.dataRoot.volumes, name);
  }

  #mountpoint(name: string): string {
    return path.join(this.#folder(name), '_data');
  }

  #draft(name: string): string {
    return path.join(this.#folder(name), '_new');
  }

  async restore(): Promise<void> {
    const { dataRoot, store, log, clock } = this.#engine;
    mkdirSync(dataRoot.volumes, { recursive: true, mode: 0o711 });
    for (const { name, document } of store.volumes.list()) {
      const volume = decodeVolume(name, this.#mountpoint(name), document);
      if (existsSync(this.#folder(name)) && !volume.isGoing) this.#volumes.set(name, volume);
      else this.#finishRemoval(volume);
    }
    for (const name of readdirSync(dataRoot.volumes)) {
      // Names that no volume can have are others': of a filesystem's own `lost+found`, for one.
      if (!isVolumeName(name) || !lstatSync(this.#folder(name)).isDirectory()) continue;
      if (this.#volumes.has(name)) this.#finishCopyUp(name);
      else if (this.#isEmptyVolume(name)) await rm(this.#folder(name), { recursive: true });
      else {
        log.warn('took in a folder below volumes/ that had no record', { volume: name });
        const document = {
          createdAt: formatTimeMs(clock.nowMs()),
          driver: 'local',
          options: {},
          labels: {},
          isGoing: false,
        };
        this.#record({ ...document, name, mountpoint: this.#mountpoint(name) });
      }
    }
  }

  #finishRemoval({ name, mountpoint }: Volume): void {
    const { sys, store, log } = this.#engine;
    if (existsSync(this.#folder(name))) {
      if (isMountPoint(mountpoint)) sys.umount(mountpoint);
      this.#discard(this.#folder(name));
    }
    store.volumes.remove(name);
    log.info('finished the removal of a volume', { volume: name });
  }

  /** Drops what a copy-up that was cut off left: a half-made copy, or the empty folder it replaced. */
  #finishCopyUp(name: string): void {
    const draft = this.#draft(name);
    if (existsSync(draft)) this.#discard(draft);
  }

  #isEmptyVolume(name: string): boolean {
    const data = this.#mountpoint(name);
    if (!existsSync(data)) return readdirSync(this.#folder(name)).length === 0;
    return readdirSync(data).length === 0;
  }

  /** Moves a tree to staging at once and deletes it in the background. */
  #discard(tree: string): void {
    const { sys, dataRoot, random, tasks } = this.#engine;
    mkdirSync(dataRoot.staging, { recursive: true, mode: 0o700 });
    const grave = path.join(dataRoot.staging, `gone-${newShortName(random, 12)}`);
    renameSync(tree, grave);
    fsyncDirectory(path.dirname(tree));
    tasks.spawn(`delete ${grave}`, (signal) => removeTree(sys, grave, { signal }));
  }

  #record(volume: Volume): void {
    this.#engine.store.volumes.put(volume.name, encodeVolume(volume));
    this.#volumes.set(volume.name, volume);
  }

  recordInTransaction(mounts: readonly MountPoint[]): void {
    for (const { name } of mounts) {
      const volume = this.#volumes.get(name);
      if (volume !== undefined && this.#unrecorded.delete(name)) this.#record(volume);
    }
  }

  list(): Volume[] {
    return [...this.#volumes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  find(name: string): Volume | undefined {
    return this.#volumes.get(name);
  }

  usersOf(name: string): readonly string[] {
    return [...(this.#users.get(name) ?? [])];
  }

  async sizeOf(name: string): Promise<number> {
    return this.#volumes.has(name) ? await treeSize(this.#mountpoint(name)) : 0;
  }

  async create(wish: VolumeWish): Promise<Volume> {
    return await this.#provide(wish, () => undefined);
  }

  /** Finds or makes a volume; `take` is called while nobody else can touch it. */
  async #provide(wish: OwnWish, take: (volume: Volume, isNew: boolean) => void): Promise<Volume> {
    const { random, locks } = this.#engine;
    const name = wish.name === '' ? newId(random) : wish.name;
    checkVolumeName(name);
    if (wish.driver !== '' && wish.driver !== 'local') {
      throw notFound(
        `error looking up volume plugin ${wish.driver}: plugin "${wish.driver}" not found: volume plugins are not supported, use the local driver`,
      );
    }
    checkVolumeOptions(wish.options);
    return await locks.run(`volume/${name}`, () => {
      const isNew = !this.#volumes.has(name);
      const volume = this.#createLocked(name, wish);
      take(volume, isNew);
      return volume;
    });
  }

  #createLocked(name: string, wish: OwnWish): Volume {
    const { dataRoot, random, clock, events } = this.#engine;
    const existing = this.#volumes.get(name);
    if (existing !== undefined) {
      const wanted = Object.entries(wish.options);
      if (wanted.some(([key, value]) => existing.options[key] !== value)) {
        throw conflict(
          `create ${name}: found existing volume ${name} with other options: choose another name or remove it first`,
        );
      }
      return existing;
    }
    mkdirSync(dataRoot.staging, { recursive: true, mode: 0o700 });
    const draft = path.join(dataRoot.staging, `volume-${newShortName(random, 12)}`);
    mkdirSync(path.join(draft, '_data'), { recursive: true, mode: 0o755 });
    renameSync(draft, this.#folder(name));
    fsyncDirectory(this.#folder(name));
    fsyncDirectory(dataRoot.volumes);
    const volume: Volume = {
      name,
      mountpoint: this.#mountpoint(name),
      createdAt: formatTimeMs(Math.trunc(clock.nowMs() / 1000) * 1000),
      driver: 'local',
      options: wish.options,
      labels: wish.labels,
      isGoing: false,
    };
    if (wish.isRecordedLater === true) {
      this.#unrecorded.add(name);
      this.#volumes.set(name, volume);
    } else this.#record(volume);
    events.publish({ type: 'volume', action: 'create', id: name, attributes: { driver: 'local' } });
    return volume;
  }

  async remove(name: string): Promise<void> {
    await this.#engine.locks.run(`volume/${name}`, () => {
      if (!this.#volumes.has(name)) throw notFound(`get ${name}: no such volume`);
      const users = this.usersOf(name);
      if (users.length > 0) {
        throw conflict(`remove ${name}: volume is in use - [${users.join(', ')}]`);
      }
      this.#unmount(name);
      this.#discard(this.#folder(name));
      // From here on it is gone, whether or not the disk has room to say so: the next start does.
      this.#volumes.delete(name);
      this.#unrecorded.delete(name);
      this.#engine.store.volumes.remove(name);
      this.#engine.events.publish({
        type: 'volume',
        action: 'destroy',
        id: name,
        attributes: { driver: 'local' },
      });
    });
  }

  async resolve(container: Parameters<Volumes['resolve']>[0]): Promise<MountPoint[]> {
    const { hostConfig } = container;
    const wishes = mountWishes(container);
    const own = new Set(wishes.map((wish) => wish.destination));
    const inherited: MountPoint[] = [];
    for (const text of hostConfig.VolumesFrom ?? []) {
      const { container: other, readWrite } = parseVolumesFrom(text);
      for (const mount of container.volumesFrom(other)) {
        if (mount.type === 'tmpfs') continue;
        // A destination of the container's own wins, unless it is only the image's volume.
        const wish = wishes.find((each) => each.destination === mount.destination);
        if (wish !== undefined && wish.origin !== 'image') continue;
        own.delete(mount.destination);
        inherited.push({
          ...mount,
          readWrite: readWrite ?? mount.readWrite,
          copyUp: false,
          origin: 'volumes-from',
        });
      }
    }
    for (const wish of wishes) this.#checkWish(wish);
    const made: string[] = [];
    try {
      const mounts = [...inherited];
      for (const mount of mounts) this.#refer(mount, container.id);
      for (const wish of wishes) {
        if (!own.has(wish.destination)) continue;
        mounts.push(await this.#mountPointOf(wish, container.id, made));
      }
      return mounts;
    } catch (error) {
      await this.forget(container.id, false);
      for (const name of made) {
        // Another container may have found use for it meanwhile.
        if (this.#volumes.has(name) && this.usersOf(name).length === 0) await this.remove(name);
      }
      throw error;
    }
  }

  #checkWish(wish: MountWish): void {
    if (wish.type === 'bind' && !wish.createSource && !existsSync(wish.source)) {
      throw invalidArgument(
        `invalid mount config for type "bind": bind source path does not exist: ${wish.source}`,
      );
    }
  }

  /** `made` gets the name of a volume that was not there before. */
  async #mountPointOf(wish: MountWish, userId: string, made: string[]): Promise<MountPoint> {
    const base = {
      type: wish.type,
      destination: wish.destination,
      mode: wish.mode,
      readWrite: wish.readWrite,
      propagation: wish.propagation,
      recursive: wish.recursive,
      readOnlyDepth: wish.readOnlyDepth,
      copyUp: wish.copyUp,
      subpath: wish.subpath,
      tmpfsOptions: wish.tmpfsOptions,
      createSource: wish.createSource,
      origin: wish.origin,
    };
    if (wish.type !== 'volume') return { ...base, name: '', source: wish.source, driver: '' };
    const volume = await this.#provide(
      {
        name: wish.name,
        driver: wish.driver,
        options: wish.driverOptions,
        labels: wish.name === '' ? { ...wish.labels, [ANONYMOUS_LABEL]: '' } : wish.labels,
        isRecordedLater: wish.name === '',
      },
      // Before the lock is let go: who waits to remove the volume must see its user.
      ({ name }, isNew) => {
        this.#use(name, userId);
        if (isNew) made.push(name);
      },
    );
    return { ...base, name: volume.name, source: volume.mountpoint, driver: volume.driver };
  }

  #refer(mount: MountPoint, containerId: string): void {
    if (mount.type === 'volume') this.#use(mount.name, containerId);
  }

  #use(name: string, containerId: string): void {
    entry(this.#users, name).add(containerId);
    const volume = this.#volumes.get(name);
    if (volume?.isGoing === true) this.#record({ ...volume, isGoing: false });
  }

  adopt(containerId: string, mounts: readonly MountPoint[], running: boolean): void {
    for (const mount of mounts) {
      this.#refer(mount, containerId);
      if (running && mount.type === 'volume') entry(this.#active, mount.name).add(containerId);
    }
  }

  async prepare(
    containerId: string,
    mounts: readonly MountPoint[],
    rootfs: string,
  ): Promise<string[]> {
    const sources: string[] = [];
    for (const mount of mounts) {
      switch (mount.type) {
        case 'tmpfs':
          sources.push('');
          break;
        case 'bind':
          await this.#prepareBind(mount);
          sources.push(mount.source);
          break;
        case 'volume':
          sources.push(await this.#prepareVolume(containerId, mount, rootfs));
          this.#tellMount(containerId, mount);
          break;
      }
    }
    return sources;
  }

  #tellMount(containerId: string, mount: MountPoint): void {
    this.#engine.events.publish({
      type: 'volume',
      action: 'mount',
      id: mount.name,
      attributes: {
        container: containerId,
        destination: mount.destination,
        driver: mount.driver,
        propagation: mount.propagation,
        'read/write': String(mount.readWrite),
      },
    });
  }

  async #prepareBind(mount: MountPoint): Promise<void> {
    if (existsSync(mount.source)) return;
    if (!mount.createSource) {
      throw invalidArgument(
        `invalid mount config for type "bind": bind source path does not exist: ${mount.source}`,
      );
    }
    try {
      makeFolders(mount.source);
    } catch (cause) {
      throw internal(
        `error while creating mount source path '${mount.source}': ${messageOf(cause)}`,
        {
          cause,
        },
      );
    }
  }

  async #prepareVolume(containerId: string, mount: MountPoint, rootfs: string): Promise<string> {
    const volume = this.#volumes.get(mount.name);
    if (volume === undefined) throw notFound(`get ${mount.name}: no such volume`);
    return await this.#engine.locks.run(`volume/${mount.name}`, async () => {
      await mountVolume(this.#engine.sys, volume);
      entry(this.#active, mount.name).add(containerId);
      if (mount.copyUp) await this.#copyUp(volume, mount, rootfs);
      return volume.mountpoint;
    });
  }

  async #copyUp(volume: Volume, mount: MountPoint, rootfs: string): Promise<void> {
    const { sys } = this.#engine;
    const isShared = (this.#active.get(volume.name)?.size ?? 0) > 1;
    await copyUp(sys, {
      volume,
      destination: mount.destination,
      rootfs,
      draft: this.#draft(volume.name),
      isInPlace: isShared || localMount(volume.options) !== undefined,
      discard: (tree) => this.#discard(tree),
    });
  }

  /** Does nothing for a volume that is gone. */
  #unmount(name: string): void {
    const volume = this.#volumes.get(name);
    if (volume !== undefined) unmountVolume(this.#engine.sys, volume);
  }

  async release(containerId: string): Promise<void> {
    for (const [name, containers] of this.#active) {
      if (!containers.delete(containerId)) continue;
      this.#engine.events.publish({
        type: 'volume',
        action: 'unmount',
        id: name,
        attributes: { container: containerId, driver: 'local' },
      });
      if (containers.size > 0) continue;
      this.#active.delete(name);
      await this.#engine.locks.run(`volume/${name}`, () => {
        try {
          if (!this.#active.has(name)) this.#unmount(name);
        } catch (error) {
          this.#engine.log.warn('cannot unmount a volume', {
            volume: name,
            error: messageOf(error),
          });
        }
      });
    }
  }

  giveUpInTransaction(containerId: string): void {
    for (const [name, containers] of this.#users) {
      const volume = this.#volumes.get(name);
      if (volume === undefined || !isAnonymous(volume)) continue;
      const isLast = containers.has(containerId) && containers.size === 1;
      if (isLast) this.#record({ ...volume, isGoing: true });
    }
  }

  async forget(containerId: string, removeAnonymous: boolean): Promise<void> {
    await this.release(containerId);
    for (const [name, containers] of this.#users) {
      if (!containers.delete(containerId) || containers.size > 0) continue;
      this.#users.delete(name);
      const volume = this.#volumes.get(name);
      if (removeAnonymous && volume !== undefined && isAnonymous(volume)) await this.remove(name);
    }
  }
}

function isAnonymous(volume: Volume): boolean {
  return ANONYMOUS_LABEL in volume.labels;
}

function entry(map: Map<string, Set<string>>, key: string): Set<string> {
  let set = map.get(key);
  if (set === undefined) {
    set = new Set();
    map.set(key, set);
  }
  return set;
}
