import { humanSize } from '../../base/bytes.ts';
import { shortId } from '../../base/digest.ts';
import type { ImageSummary } from '../../spec/docker/image.ts';
import { ago, goTime } from '../display.ts';
import type { RowShape } from '../format.ts';

/** Rows of `images`: one for each name of an image. */
export type ImageRow = {
  readonly image: ImageSummary;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
};

const NONE = '<none>';

/** `repository` and what follows the mark, for each reference; in the order of the references. */
function byRepository(
  references: readonly string[],
  split: (reference: string) => number,
): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const reference of references) {
    const at = split(reference);
    if (at < 0 || reference.startsWith(NONE)) continue;
    const repository = reference.slice(0, at);
    found.set(repository, [...(found.get(repository) ?? []), reference.slice(at + 1)]);
  }
  return found;
}

/** The rows of one image; an image without names has one row. */
export function imageRows(image: ImageSummary, digests: boolean): ImageRow[] {
  const tags = byRepository(image.RepoTags ?? [], (name) => name.lastIndexOf(':'));
  const known = byRepository(image.RepoDigests ?? [], (name) => name.indexOf('@'));
  const rows: ImageRow[] = [];
  const add = (repository: string, tag: string, digest: string): void => {
    rows.push({ image, repository, tag, digest });
  };
  for (const [repository, each] of tags) {
    const of = digests ? (known.get(repository) ?? [NONE]) : [NONE];
    for (const digest of of) for (const tag of each) add(repository, tag, digest);
    known.delete(repository);
  }
  for (const [repository, each] of known) {
    for (const digest of digests ? each : ['']) add(repository, NONE, digest);
  }
  if (rows.length === 0) add(NONE, NONE, NONE);
  return rows;
}

const sizeText = (bytes: number | undefined): string =>
  bytes === undefined || bytes < 0 ? 'N/A' : humanSize(bytes);

/** The table's template, with a column for digests when they are asked for. */
export function imageTable(digests: boolean): string {
  const digest = digests ? '{{.Digest}}\\t' : '';
  return `{{.Repository}}\\t{{.Tag}}\\t${digest}{{.ID}}\\t{{.CreatedSince}}\\t{{.Size}}`;
}

export function imageShape(options: {
  readonly trunc: boolean;
  readonly nowMs: number;
}): RowShape<ImageRow> {
  return {
    typeName: '*formatter.imageContext',
    fields: {
      Containers: {
        header: 'CONTAINERS',
        value: ({ image }) => (image.Containers < 0 ? 'N/A' : String(image.Containers)),
      },
      CreatedAt: { header: 'CREATED AT', value: ({ image }) => goTime(image.Created) },
      CreatedSince: { header: 'CREATED', value: ({ image }) => ago(image.Created, options.nowMs) },
      Digest: { header: 'DIGEST', value: (row) => row.digest },
      ID: {
        header: 'IMAGE ID',
        value: ({ image }) => (options.trunc ? shortId(image.Id) : image.Id),
      },
      Repository: { header: 'REPOSITORY', value: (row) => row.repository },
      SharedSize: { header: 'SHARED SIZE', value: ({ image }) => sizeText(image.SharedSize) },
      Size: { header: 'SIZE', value: ({ image }) => humanSize(image.Size, 3) },
      Tag: { header: 'TAG', value: (row) => row.tag },
      UniqueSize: {
        header: 'UNIQUE SIZE',
        value: ({ image }) =>
          image.SharedSize < 0 ? 'N/A' : humanSize(image.Size - image.SharedSize),
      },
      VirtualSize: { header: 'SIZE', value: ({ image }) => humanSize(image.Size) },
    },
  };
}
