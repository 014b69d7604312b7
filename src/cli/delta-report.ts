import { humanSize } from '../base/bytes.ts';
import { shortId } from '../base/digest.ts';
import type { InspectedDelta } from '../spec/delta-inspect.ts';
import { alignTabs } from './tabwriter.ts';

/** Where a delta's bytes go, as text: by layer, by the way contents are coded, by directory, by file. */

const DIRECTORIES_SHOWN = 12;
const FILES_SHOWN = 15;
/** A directory is split up when it has more than this share of all bytes. */
const SPLIT_SHARE = 0.25;
const DEPTH_MAX = 6;

/** What the kinds of the format mean to a reader. */
export const KIND_NAMES: Readonly<Record<string, string>> = {
  none: 'no content',
  same: 'unchanged',
  copy: 'moved or copied',
  addSame: 'corrections',
  addOther: 'from another file',
  literal: 'new',
};

type File = InspectedDelta['Report']['layers'][number]['files'][number];

/** All files of a delta that cost something, the most expensive first. */
export function filesOf({ Report }: InspectedDelta): File[] {
  return Report.layers.flatMap(({ files }) => files).sort((a, b) => b.bytes - a.bytes);
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

/** Bytes of all parts. */
export function bytesOf({ Report }: InspectedDelta): number {
  return total(Report.layers.map(({ bytes }) => bytes));
}

function table(rows: readonly (readonly string[])[]): string {
  return alignTabs(rows.map((cells) => `${cells.join('\t')}\n`).join(''));
}

const size = (bytes: number): string => humanSize(bytes, 3);

/** What the columns beside a path take: for a file sizes, a share and how it is coded. */
const BESIDE_FILE = 51;
const BESIDE_DIRECTORY = 26;
const PATH_COLUMNS_MIN = 20;

/** One delta. Paths that would not fit into so many columns lose their beginning. */
export function reportText(
  delta: InspectedDelta,
  columns: number = Number.POSITIVE_INFINITY,
): string {
  const bytes = bytesOf(delta);
  const tarBytes = total(delta.Report.layers.map((layer) => layer.tarBytes));
  const share = (part: number): string =>
    bytes === 0 ? '' : `${((part / bytes) * 100).toFixed(1)}%`;
  return [
    `Delta ${shortId(delta.Digest)}: ${shortId(delta.Base)} → ${shortId(delta.Target)}`,
    `${size(bytes)} make ${size(tarBytes)} of layers\n`,
    table([
      ['LAYER', 'BYTES', 'SHARE', 'UNPACKED', 'HEADERS', ''],
      ...delta.Report.layers.map((layer) => [
        shortId(layer.diffId),
        size(layer.bytes),
        share(layer.bytes),
        size(layer.tarBytes),
        size(layer.headBytes),
        '',
      ]),
    ]),
    table([
      ['CONTENT', 'BYTES', 'SHARE', 'UNPACKED', 'ENTRIES', ''],
      ...kindRows(delta).map(([kind, sum]) => [
        KIND_NAMES[kind] ?? kind,
        size(sum.bytes),
        share(sum.bytes),
        size(sum.contentBytes),
        String(sum.entries),
        '',
      ]),
    ]),
    table([
      ['DIRECTORY', 'BYTES', 'SHARE', ''],
      ...directories(filesOf(delta))
        .slice(0, DIRECTORIES_SHOWN)
        .map(([path, sum]) => [
          shortened(`/${path}`, columns - BESIDE_DIRECTORY),
          size(sum),
          share(sum),
          '',
        ]),
    ]),
    table([
      ['FILE', 'BYTES', 'SHARE', 'UNPACKED', 'CONTENT'],
      ...filesOf(delta)
        .slice(0, FILES_SHOWN)
        .map((file) => [
          shortened(`/${printable(file.path)}`, columns - BESIDE_FILE),
          size(file.bytes),
          share(file.bytes),
          size(file.contentBytes),
          KIND_NAMES[file.kind] ?? file.kind,
        ]),
    ]),
  ].join('\n');
}

/** The end of a path tells more than its beginning. */
function shortened(path: string, columnsMax: number): string {
  const max = Math.max(columnsMax, PATH_COLUMNS_MIN);
  return path.length <= max ? path : `…${path.slice(1 - max)}`;
}

/** Names come from an image: nothing in them may steer a terminal. */
function printable(path: string): string {
  return path.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
}

function kindRows({ Report }: InspectedDelta) {
  const sums = new Map<string, { entries: number; contentBytes: number; bytes: number }>();
  for (const [kind, { entries, contentBytes, bytes }] of Report.layers.flatMap(({ kinds }) =>
    Object.entries(kinds),
  )) {
    const sum = sums.get(kind) ?? { entries: 0, contentBytes: 0, bytes: 0 };
    sums.set(kind, {
      entries: sum.entries + entries,
      contentBytes: sum.contentBytes + contentBytes,
      bytes: sum.bytes + bytes,
    });
  }
  return [...sums].sort(([, a], [, b]) => b.bytes - a.bytes || b.contentBytes - a.contentBytes);
}

/** Directories that do not overlap: large ones are split into what is in them. */
function directories(files: readonly File[]): [path: string, bytes: number][] {
  const all = total(files.map(({ bytes }) => bytes));
  const split = (inside: readonly File[], prefix: string, depth: number): [string, number][] => {
    const groups = new Map<string, File[]>();
    for (const file of inside) {
      const rest = file.path.slice(prefix.length);
      const slash = rest.indexOf('/');
      const name = slash < 0 ? prefix : prefix + rest.slice(0, slash + 1);
      groups.set(name, [...(groups.get(name) ?? []), file]);
    }
    return [...groups].flatMap(([name, group]): [string, number][] => {
      const bytes = total(group.map((file) => file.bytes));
      const isLeaf = name === prefix || depth >= DEPTH_MAX || bytes < all * SPLIT_SHARE;
      return isLeaf ? [[printable(name), bytes]] : split(group, name, depth + 1);
    });
  };
  return split(files, '', 0).sort(([, a], [, b]) => b - a);
}
