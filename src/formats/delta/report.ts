import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { dataLoss } from '../../base/errors.ts';
import { array, type Decoded, decodeJson, int, map, string, struct } from '../../spec/decode.ts';

/**
 * Where the bytes of a delta go, as its writer measured it: zstd-compressed JSON, a blob beside the
 * parts that devices never fetch. It is for people who want to know what spoils their updates.
 */
export const DELTA_REPORT_TYPE = 'application/vnd.coracle.delta.report.v1+json+zstd';
/** Unpacked. */
export const REPORT_BYTES_MAX = 64 << 20;

const report = struct('Report', {
  layers: array(
    struct('ReportLayer', {
      diffId: string,
      /** Bytes of its part, of its tar, and of what is no content: heads and their order. */
      bytes: int,
      tarBytes: int,
      headBytes: int,
      /** Entries and bytes of content by the way they are coded. */
      kinds: map(struct('ReportKind', { entries: int, contentBytes: int, bytes: int })),
      /** Files that cost something. */
      files: array(
        struct('ReportFile', { path: string, kind: string, contentBytes: int, bytes: int }),
      ),
    }),
  ),
});

export type DeltaReport = Decoded<typeof report>;
export type ReportLayer = DeltaReport['layers'][number];
export type ReportFile = ReportLayer['files'][number];

/** What a report is made of: a part, and its entries with their estimated compressed bytes. */
export type Measured = {
  readonly diffId: string;
  readonly sizeBytes: number;
  readonly tarBytes: number;
  readonly headBytes: number;
  readonly coded: readonly {
    readonly path: string;
    readonly kind: string;
    readonly contentBytes: number;
    readonly codedBytes: number;
  }[];
};

/**
 * The report of one layer. Contents share one compressed stream, so what each takes is an estimate
 * of its own, scaled so that all together make the part.
 */
export function reportLayer(measured: Measured): ReportLayer {
  const { diffId, sizeBytes, tarBytes, coded } = measured;
  const estimated = coded.reduce((sum, each) => sum + each.codedBytes, measured.headBytes);
  const scale = estimated === 0 ? 0 : sizeBytes / estimated;
  const kinds: ReportLayer['kinds'] = {};
  const files: ReportFile[] = [];
  for (const { path, kind, contentBytes, codedBytes } of coded) {
    const bytes = Math.round(codedBytes * scale);
    const sum = kinds[kind] ?? { entries: 0, contentBytes: 0, bytes: 0 };
    kinds[kind] = {
      entries: sum.entries + 1,
      contentBytes: sum.contentBytes + contentBytes,
      bytes: sum.bytes + bytes,
    };
    if (codedBytes > 0) files.push({ path, kind, contentBytes, bytes });
  }
  files.sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1));
  const headBytes = Math.round(measured.headBytes * scale);
  return { diffId, bytes: sizeBytes, tarBytes, headBytes, kinds, files };
}

/** The report's bytes. */
export function encodeReport(layers: readonly ReportLayer[]): Buffer {
  return zstdCompressSync(JSON.stringify({ layers } satisfies { layers: readonly ReportLayer[] }));
}

/** @throws dataLoss for what is no report */
export function decodeReport(bytes: Uint8Array): DeltaReport {
  let text: string;
  try {
    text = zstdDecompressSync(bytes, { maxOutputLength: REPORT_BYTES_MAX }).toString('utf8');
  } catch (cause) {
    throw dataLoss('cannot read the report of a delta: it does not unpack', { cause });
  }
  return decodeJson(report, text);
}
