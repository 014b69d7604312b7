import path from 'node:path';
import { invalidArgument } from '../base/errors.ts';
import type { HostConfig, Mount } from '../spec/docker/container.ts';

/**
 * What a container's `-v`, `--mount`, `--tmpfs`, image volumes and `--volumes-from` ask for, as one
 * list of wishes. Pure: no path is looked at here. Grammar and texts: moby `volume/mounts`
 * (linux_parser.go, validate.go).
 */
export type MountWish = {
  readonly type: 'bind' | 'volume' | 'tmpfs';
  /** Volume name; '' asks for an anonymous one, or is no volume. */
  readonly name: string;
  /** Host path of a bind, or of a volume that is there; '' else. */
  readonly source: string;
  readonly destination: string;
  /** As the user wrote it (`ro,z`). */
  readonly mode: string;
  readonly readWrite: boolean;
  /** `rprivate`, `rslave` …; '' for volumes. */
  readonly propagation: string;
  /** False: `bind` rather than `rbind`. */
  readonly recursive: boolean;
  /** How deep read-only goes: '' as deep as the kernel can, `top` the mount itself, `all` or an error. */
  readonly readOnlyDepth: ReadOnlyDepth;
  /** Copy the image's content into a new volume. */
  readonly copyUp: boolean;
  readonly subpath: string;
  /** Options of the tmpfs mount(2), `size=64m,mode=1777`. */
  readonly tmpfsOptions: string;
  /** True: a missing bind source is made (as `-v` does); false: it is an error (as `--mount`). */
  readonly createSource: boolean;
  readonly driver: string;
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** HostConfig entry it came from. */
  readonly origin: 'binds' | 'mounts' | 'tmpfs' | 'image';
};

export const READ_ONLY_DEPTHS = ['', 'top', 'all'] as const;
export type ReadOnlyDepth = (typeof READ_ONLY_DEPTHS)[number];

const PROPAGATION = new Set(['shared', 'rshared', 'slave', 'rslave', 'private', 'rprivate']);
const READ_WRITE = new Set(['rw', 'ro']);
const LABEL = new Set(['z', 'Z']);
const CONSISTENCY = new Set(['consistent', 'cached', 'delegated']);
export const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

const NOTHING = {
  name: '',
  source: '',
  mode: '',
  readWrite: true,
  propagation: '',
  recursive: true,
  readOnlyDepth: '',
  copyUp: false,
  subpath: '',
  tmpfsOptions: '',
  createSource: false,
  driver: 'local',
  driverOptions: {},
  labels: {},
} as const;

type Mode = { readWrite: boolean; propagation: string; noCopy: boolean };

/** The parts of `ro,rslave,nocopy`; undefined when it is not a mode. Each group at most once. */
function parseMode(mode: string): Mode | undefined {
  let readWrite: boolean | undefined;
  let propagation: string | undefined;
  const seen = { label: false, copy: false, consistency: false };
  for (const each of mode === '' ? [] : mode.split(',')) {
    if (READ_WRITE.has(each) && readWrite === undefined) readWrite = each === 'rw';
    else if (PROPAGATION.has(each) && propagation === undefined) propagation = each;
    else if (LABEL.has(each) && !seen.label) seen.label = true;
    else if (CONSISTENCY.has(each) && !seen.consistency) seen.consistency = true;
    else if (each === 'nocopy' && !seen.copy) seen.copy = true;
    else return undefined;
  }
  return { readWrite: readWrite ?? true, propagation: propagation ?? '', noCopy: seen.copy };
}

/** True when a volume of the local driver can have this name. */
export function isVolumeName(name: string): boolean {
  return VOLUME_NAME.test(name);
}

/** @throws invalidArgument when the name cannot be a volume's */
export function checkVolumeName(name: string): void {
  if (isVolumeName(name)) return;
  if (name.length === 1) {
    throw invalidArgument(
      'volume name is too short, names should be at least two alphanumeric characters',
    );
  }
  throw invalidArgument(
    `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
  );
}

function mountError(type: string, cause: string): Error {
  return invalidArgument(`invalid mount config for type "${type}": ${cause}`);
}

function checkDestination(type: string, destination: string): string {
  if (destination === '') throw mountError(type, 'field Target must not be empty');
  const clean = path.posix.normalize(destination).replace(/(.)\/$/, '$1');
  if (clean === '/') {
    throw mountError(type, "invalid specification: destination can't be '/'");
  }
  if (!clean.startsWith('/')) {
    throw mountError(type, `invalid mount path: '${destination}' mount path must be absolute`);
  }
  return clean;
}

/**
 * One `-v` in its API form: `destination`, `source:destination` or `source:destination:mode`.
 * @throws invalidArgument
 */
export function parseBind(raw: string, volumeDriver: string): MountWish {
  const parts = raw.split(':');
  const invalid = (): Error => invalidArgument(`invalid volume specification: '${raw}'`);
  if (raw.startsWith(':') || parts.length > 3 || parts.includes('')) throw invalid();
  const [first = '', second, third = ''] = parts;
  if (parts.length === 2 && second !== undefined && parseMode(second) !== undefined) {
    throw invalid();
  }
  const mode = parseMode(third);
  if (mode === undefined) throw invalidArgument(`invalid mode: ${third}`);
  const source = second === undefined ? '' : first;
  const isBind = source.startsWith('/');
  const type = isBind ? 'bind' : 'volume';
  const destination = checkDestination(type, second ?? first);
  if (!isBind && source !== '') checkVolumeName(source);
  if (isBind && mode.noCopy) throw invalidArgument(`invalid mode: ${third}`);
  if (!isBind && mode.propagation !== '') throw invalidArgument(`invalid mode: ${third}`);
  return {
    ...NOTHING,
    type,
    name: isBind ? '' : source,
    source: isBind ? path.posix.normalize(source) : '',
    destination,
    mode: third,
    readWrite: mode.readWrite,
    propagation: isBind ? mode.propagation || 'rprivate' : '',
    copyUp: !isBind && !mode.noCopy,
    createSource: true,
    driver: volumeDriver || 'local',
    origin: 'binds',
  };
}

/** Options of tmpfs that mount(8) documents and Docker lets through. */
const TMPFS_OPTION =
  /^(?:(?:size|nr_blocks|nr_inodes|mode|uid|gid|mpol|huge)=.+|ro|rw|(?:no)?(?:suid|dev|exec|atime|diratime)|(?:rel|strict)atime|(?:a)?sync|dirsync|r?bind|defaults|(?:no)?swap)$/;

/** One `--tmpfs`: destination and options as mount(8) has them. @throws invalidArgument */
export function parseTmpfs(destination: string, options: string): MountWish {
  const clean = checkDestination('tmpfs', destination);
  for (const each of options === '' ? [] : options.split(',')) {
    if (!TMPFS_OPTION.test(each)) {
      throw invalidArgument(`invalid tmpfs option ["${each}"]`);
    }
  }
  return {
    ...NOTHING,
    type: 'tmpfs',
    destination: clean,
    readWrite: !options.split(',').includes('ro'),
    tmpfsOptions: options,
    origin: 'tmpfs',
  };
}

/** An image's `VOLUME` or a request's `Volumes` entry. @throws invalidArgument */
export function anonymousVolume(destination: string, volumeDriver: string): MountWish {
  return {
    ...NOTHING,
    type: 'volume',
    destination: checkDestination('volume', destination),
    copyUp: true,
    driver: volumeDriver || 'local',
    origin: 'image',
  };
}

function reject(type: string, fields: Readonly<Record<string, unknown>>): void {
  for (const [field, value] of Object.entries(fields)) {
    if (value !== null && value !== '') {
      throw mountError(type, `field ${field} must not be specified`);
    }
  }
}

/** One `--mount` in its API form. @throws invalidArgument, notImplemented-like texts as Docker's */
export function parseMount(mount: Mount): MountWish {
  const base = {
    ...NOTHING,
    readWrite: !mount.ReadOnly,
    origin: 'mounts' as const,
  };
  const { Type: type, BindOptions, VolumeOptions, TmpfsOptions, ImageOptions } = mount;
  switch (type) {
    case 'bind': {
      const destination = checkDestination(type, mount.Target);
      if (mount.Source === '') throw mountError(type, 'field Source must not be empty');
      reject(type, { VolumeOptions, TmpfsOptions, ImageOptions });
      if (!mount.Source.startsWith('/')) {
        const text = `invalid mount path: '${mount.Source}' mount path must be absolute`;
        throw mountError(type, text);
      }
      const propagation = BindOptions?.Propagation ?? '';
      if (propagation !== '' && !PROPAGATION.has(propagation)) {
        throw mountError(type, `invalid propagation mode: ${propagation}`);
      }
      return {
        ...base,
        type,
        source: path.posix.normalize(mount.Source),
        destination,
        propagation: propagation || 'rprivate',
        recursive: BindOptions?.NonRecursive !== true,
        readOnlyDepth: readOnlyDepth(mount, propagation),
        createSource: BindOptions?.CreateMountpoint === true,
      };
    }
    case 'volume': {
      const destination = checkDestination(type, mount.Target);
      reject(type, { BindOptions, TmpfsOptions, ImageOptions });
      if (mount.Source === '' && mount.ReadOnly) {
        throw mountError(type, 'must not set ReadOnly mode when using anonymous volumes');
      }
      if (mount.Source !== '') checkVolumeName(mount.Source);
      const subpath = VolumeOptions?.Subpath ?? '';
      if (subpath !== '' && !isLocalPath(subpath)) {
        throw mountError(type, `subpath must be a relative path within the volume`);
      }
      return {
        ...base,
        type,
        name: mount.Source,
        destination,
        mode: 'z',
        copyUp: VolumeOptions?.NoCopy !== true && subpath === '',
        subpath,
        driver: VolumeOptions?.DriverConfig?.Name || 'local',
        driverOptions: VolumeOptions?.DriverConfig?.Options ?? {},
        labels: VolumeOptions?.Labels ?? {},
      };
    }
    case 'tmpfs': {
      const destination = checkDestination(type, mount.Target);
      if (mount.Source !== '') throw mountError(type, 'field Source must not be specified');
      reject(type, { BindOptions, VolumeOptions, ImageOptions });
      return { ...base, type, destination, tmpfsOptions: tmpfsText(mount) };
    }
    case 'image':
    case 'npipe':
    case 'cluster':
      throw invalidArgument(`mount type "${type}" is not supported: use bind, volume or tmpfs`);
    default:
      throw mountError(type, 'mount type unknown');
  }
}

function readOnlyDepth({ ReadOnly, BindOptions }: Mount, propagation: string): ReadOnlyDepth {
  const top = BindOptions?.ReadOnlyNonRecursive === true;
  const all = BindOptions?.ReadOnlyForceRecursive === true;
  if (!top && !all) return '';
  const option = top ? 'ReadOnlyNonRecursive' : 'ReadOnlyForceRecursive';
  if (top && all) {
    throw mountError('bind', 'ReadOnlyNonRecursive and ReadOnlyForceRecursive exclude each other');
  }
  if (!ReadOnly) throw mountError('bind', `${option} needs ReadOnly`);
  if (all && !['', 'rprivate'].includes(propagation)) {
    throw mountError('bind', `${option} needs the propagation rprivate`);
  }
  return top ? 'top' : 'all';
}

/** Permissions with setuid, setgid and sticky. */
const MODE_MAX = 0o7777;

function tmpfsText(mount: Mount): string {
  const options = mount.TmpfsOptions;
  const parts: string[] = mount.ReadOnly ? ['ro'] : [];
  if (options !== null) {
    if (options.SizeBytes < 0) throw mountError('tmpfs', 'its size must not be negative');
    if (options.Mode > MODE_MAX) {
      throw mountError('tmpfs', `its mode must be permissions, 0 to 0${MODE_MAX.toString(8)}`);
    }
    if (options.Mode !== 0) parts.push(`mode=${options.Mode.toString(8)}`);
    if (options.SizeBytes !== 0) parts.push(`size=${options.SizeBytes}`);
    for (const each of options.Options) parts.push(each.join('='));
  }
  for (const each of parts) {
    if (!TMPFS_OPTION.test(each)) throw invalidArgument(`invalid tmpfs option ["${each}"]`);
  }
  return parts.join(',');
}

/** True for a relative path that stays below where it starts, by its text. */
export function isLocalPath(text: string): boolean {
  const clean = path.posix.normalize(text);
  return !clean.startsWith('/') && clean !== '..' && !clean.startsWith('../');
}

/**
 * All that a request asks for itself; destinations are unique. Anonymous volumes give way to
 * whatever else is mounted there.
 * @throws invalidArgument
 */
export function mountWishes(request: {
  readonly hostConfig: HostConfig;
  readonly anonymous: readonly string[];
}): MountWish[] {
  const { hostConfig } = request;
  const byDestination = new Map<string, MountWish>();
  const add = (wish: MountWish): void => {
    if (byDestination.has(wish.destination)) {
      throw invalidArgument(`Duplicate mount point: ${wish.destination}`);
    }
    byDestination.set(wish.destination, wish);
  };
  for (const raw of hostConfig.Binds ?? []) add(parseBind(raw, hostConfig.VolumeDriver));
  for (const mount of hostConfig.Mounts ?? []) add(parseMount(mount));
  for (const [destination, options] of Object.entries(hostConfig.Tmpfs ?? {})) {
    add(parseTmpfs(destination, options));
  }
  for (const destination of request.anonymous) {
    const wish = anonymousVolume(destination, hostConfig.VolumeDriver);
    if (!byDestination.has(wish.destination)) byDestination.set(wish.destination, wish);
  }
  return [...byDestination.values()];
}

/** `CONTAINER[:ro|rw]`. @throws invalidArgument */
export function parseVolumesFrom(text: string): {
  container: string;
  readWrite: boolean | undefined;
} {
  if (text === '') throw invalidArgument('volumes-from specification cannot be an empty string');
  const colon = text.indexOf(':');
  if (colon < 0) return { container: text, readWrite: undefined };
  const mode = text.slice(colon + 1);
  const parsed = parseMode(mode);
  if (parsed === undefined || parsed.propagation !== '' || parsed.noCopy) {
    throw invalidArgument(`invalid mode: ${mode}`);
  }
  const said = mode.split(',').some((each) => READ_WRITE.has(each));
  return {
    container: text.slice(0, colon),
    readWrite: said ? parsed.readWrite : undefined,
  };
}
