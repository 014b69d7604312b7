import path from 'node:path';
import { openSyscalls } from '../../kernel/ffi.ts';
import type { ImportInput, ImportResult } from '../archive-protocol.ts';
import { extractLayer } from '../extract.ts';
import type { JobContext } from '../job.ts';
import { LayerProgress } from '../layer-progress.ts';
import { download } from '../url-download.ts';

/** The job `import`: a tar of a root filesystem, plain or compressed, becomes one staged layer. */
export async function importTar(input: unknown, context: JobContext): Promise<ImportResult> {
  const { staging, url } = input as ImportInput;
  const { signal } = context;
  const progress = new LayerProgress('', context.report);
  let source: AsyncIterable<Uint8Array> = context.stdin;
  let totalBytes = 0;
  if (url !== '') {
    const response = await download(url, signal);
    source = response;
    totalBytes = Number(response.headers['content-length'] ?? 0);
  }
  const { sizeBytes, ...layer } = await extractLayer({
    sys: openSyscalls(),
    directory: path.join(staging, '1'),
    source,
    expected: {},
    origin: undefined,
    signal,
    onProgress: (bytes) => progress.bytes('Importing', bytes, totalBytes),
  });
  progress.bytes('Importing', sizeBytes, sizeBytes, true);
  return { layer };
}
