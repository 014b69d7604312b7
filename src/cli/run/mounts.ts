import { parseSizeBinary } from '../../base/bytes.ts';
import type { Loose } from '../../client/client.ts';
import type { Mount } from '../../spec/docker/container.ts';
import { splitCsv, splitPair } from '../flags.ts';

/** `--mount type=bind,source=/a,target=/b,readonly`, and what `-v` and `--tmpfs` mean. */

const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

type Draft = {
  type: string;
  source: string;
  target: string;
  readOnly: boolean;
  consistency: string;
  bind: Record<string, string | boolean> | undefined;
  volume:
    | {
        noCopy: boolean;
        subpath: string | undefined;
        labels: Record<string, string> | undefined;
        driver: string | undefined;
        options: Record<string, string> | undefined;
      }
    | undefined;
  image: { Subpath: string } | undefined;
  tmpfs: { SizeBytes?: number; Mode?: number } | undefined;
};

const NO_VOLUME = {
  noCopy: false,
  subpath: undefined,
  labels: undefined,
  driver: undefined,
  options: undefined,
};

function truth(key: string, field: string, value: string): boolean {
  if (!field.includes('=')) return true;
  if (TRUE.includes(value)) return true;
  if (FALSE.includes(value)) return false;
  throw new Error(`invalid value for ${key}: ${value}`);
}

type Setter = (draft: Draft, value: string, field: string) => void;

const volumeOf = (draft: Draft): NonNullable<Draft['volume']> => {
  draft.volume ??= { ...NO_VOLUME };
  return draft.volume;
};
const bindOf = (draft: Draft): NonNullable<Draft['bind']> => {
  draft.bind ??= {};
  return draft.bind;
};
const pair =
  (pick: (draft: Draft) => Record<string, string>): Setter =>
  (draft, value) => {
    const [key, each] = splitPair(value);
    pick(draft)[key] = each;
  };

const readOnly: Setter = (draft, value, field) => {
  draft.readOnly = truth('readonly', field, value);
};
const source: Setter = (draft, value) => {
  // A path of this machine may be written from where one stands.
  draft.source = value;
};
const target: Setter = (draft, value) => {
  draft.target = value;
};

const KEYS: Readonly<Record<string, Setter>> = {
  type: (draft, value) => {
    draft.type = value.toLowerCase();
  },
  source,
  src: source,
  target,
  dst: target,
  destination: target,
  readonly: readOnly,
  ro: readOnly,
  consistency: (draft, value) => {
    draft.consistency = value.toLowerCase();
  },
  'bind-propagation': (draft, value) => {
    bindOf(draft)['Propagation'] = value.toLowerCase();
  },
  'bind-nonrecursive': () => {
    throw new Error('bind-nonrecursive is deprecated, use bind-recursive=disabled instead');
  },
  'bind-recursive': (draft, value) => {
    if (value === 'enabled') return;
    const option = {
      disabled: 'NonRecursive',
      writable: 'ReadOnlyNonRecursive',
      readonly: 'ReadOnlyForceRecursive',
    }[value];
    if (option === undefined) {
      throw new Error(
        `invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`,
      );
    }
    bindOf(draft)[option] = true;
  },
  'bind-create-src': (draft, value, field) => {
    bindOf(draft)['CreateMountpoint'] = truth('bind-create-src', field, value);
  },
  'volume-subpath': (draft, value) => {
    volumeOf(draft).subpath = value;
  },
  'volume-nocopy': (draft, value, field) => {
    volumeOf(draft).noCopy = truth('volume-nocopy', field, value);
  },
  'volume-label': pair((draft) => {
    const volume = volumeOf(draft);
    volume.labels ??= {};
    return volume.labels;
  }),
  'volume-driver': (draft, value) => {
    volumeOf(draft).driver = value;
  },
  'volume-opt': pair((draft) => {
    const volume = volumeOf(draft);
    volume.options ??= {};
    return volume.options;
  }),
  'image-subpath': (draft, value) => {
    draft.image = { Subpath: value };
  },
  'tmpfs-size': (draft, value) => {
    const bytes = parseSizeBinary(value);
    if (bytes === undefined) throw new Error(`invalid value for tmpfs-size: ${value}`);
    draft.tmpfs = { ...draft.tmpfs, SizeBytes: bytes };
  },
  'tmpfs-mode': (draft, value) => {
    if (!/^[0-7]{1,11}$/.test(value)) throw new Error(`invalid value for tmpfs-mode: ${value}`);
    draft.tmpfs = { ...draft.tmpfs, Mode: Number.parseInt(value, 8) };
  },
};

/** Keys that may stand without a value. */
const BARE = new Set(['readonly', 'ro', 'volume-nocopy', 'bind-nonrecursive', 'bind-create-src']);

/** One `--mount`. @throws Error with the cause */
export function parseMountFlag(value: string): Loose<Mount> {
  const draft: Draft = {
    type: 'volume',
    source: '',
    target: '',
    readOnly: false,
    consistency: '',
    bind: undefined,
    volume: undefined,
    image: undefined,
    tmpfs: undefined,
  };
  for (const field of splitCsv(value.trim())) {
    const [written, each] = splitPair(field);
    const key = written.toLowerCase();
    const setter = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
    if (!field.includes('=') && !BARE.has(key)) {
      throw new Error(`invalid field '${field}' must be a key=value pair`);
    }
    if (setter === undefined) throw new Error(`unexpected key '${key}' in '${field}'`);
    setter(draft, each, field);
  }
  check(draft);
  return mountOf(draft);
}

function check(draft: Draft): void {
  if (draft.type === '') throw new Error('type is required');
  if (draft.target === '') throw new Error('target is required');
  const owners: [string, unknown][] = [
    ['bind', draft.bind],
    ['volume', draft.volume],
    ['image', draft.image],
    ['tmpfs', draft.tmpfs],
  ];
  for (const [type, options] of owners) {
    if (options !== undefined && type !== draft.type) {
      throw new Error(`cannot mix '${type}-*' options with mount type '${draft.type}'`);
    }
  }
  const propagation = draft.bind?.['Propagation'];
  if (draft.bind?.['ReadOnlyNonRecursive'] === true && !draft.readOnly) {
    throw new Error(
      "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction",
    );
  }
  if (draft.bind?.['ReadOnlyForceRecursive'] === true) {
    if (!draft.readOnly) {
      throw new Error(
        "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
      );
    }
    if (propagation !== 'rprivate') {
      throw new Error(
        "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
      );
    }
  }
}

function mountOf(draft: Draft): Loose<Mount> {
  const { volume } = draft;
  return {
    Type: draft.type,
    Target: draft.target,
    ...(draft.source === '' ? {} : { Source: draft.source }),
    ...(draft.readOnly ? { ReadOnly: true } : {}),
    ...(draft.consistency === '' ? {} : { Consistency: draft.consistency }),
    ...(draft.bind === undefined ? {} : { BindOptions: draft.bind }),
    ...(draft.image === undefined ? {} : { ImageOptions: draft.image }),
    ...(draft.tmpfs === undefined ? {} : { TmpfsOptions: draft.tmpfs }),
    ...(volume === undefined
      ? {}
      : {
          VolumeOptions: {
            ...(volume.noCopy ? { NoCopy: true } : {}),
            ...(volume.labels === undefined ? {} : { Labels: volume.labels }),
            ...(volume.subpath === undefined ? {} : { Subpath: volume.subpath }),
            DriverConfig: {
              ...(volume.driver === undefined ? {} : { Name: volume.driver }),
              ...(volume.options === undefined ? {} : { Options: volume.options }),
            },
          },
        }),
  };
}

/** Splits `-v` at the colons that part its fields. */
export function splitVolume(value: string): { source: string; target: string; rest: string[] } {
  const [first = '', second, ...rest] = value.split(':');
  return second === undefined
    ? { source: '', target: first, rest: [] }
    : { source: first, target: second, rest };
}
