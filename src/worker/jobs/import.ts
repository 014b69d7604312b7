import { once } from 'node:events';
import * as http from 'node:http';
import * as https from 'node:https';
import path from 'node:path';
import { invalidArgument, messageOf, unavailable } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import type { ImportInput, ImportResult } from '../archive-protocol.ts';
import { extractLayer } from '../extract.ts';
import type { JobContext } from '../job.ts';
import { LayerProgress } from '../layer-progress.ts';

/** A server that sends nothing for so long is given up. */
const STALL_TIMEOUT_MS = 60_000;

/** The job `import`: a tar of a root filesystem, plain or compressed, becomes one staged layer. */
export async function importTar(input: unknown, context: JobContext): Promise<ImportResult> {
  const { staging, url } = input as ImportInput;
  const { signal } = context;
  const progress = new LayerProgress('', context.report);
  let source: AsyncIterable<Uint8Array> = context.stdin;
  let totalBytes = 0;
  if (url !== '') {
    const response = await download(url, signal, 0);
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

/** GET, following redirects. */
async function download(
  url: string,
  signal: AbortSignal,
  redirects: number,
): Promise<http.IncomingMessage> {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
    throw invalidArgument(`cannot import from ${JSON.stringify(url)}: use http:// or https://`);
  }
  const request = (parsed.protocol === 'https:' ? https : http).get(parsed, { signal });
  request.setTimeout(STALL_TIMEOUT_MS, () => request.destroy(new Error('the server is silent')));
  // Of a failure after the answer began the answer tells.
  request.on('error', () => undefined);
  let response: http.IncomingMessage;
  try {
    [response] = (await once(request, 'response')) as [http.IncomingMessage];
  } catch (cause) {
    throw unavailable(`cannot download ${parsed.origin}: ${messageOf(cause)}`, { cause });
  }
  const { statusCode = 0, headers } = response;
  if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
    response.destroy();
    if (redirects >= LIMITS.redirectsMax) {
      throw unavailable(`cannot download ${parsed.origin}: too many redirects`);
    }
    if (!URL.canParse(headers.location, parsed)) {
      throw unavailable(`cannot download ${parsed.origin}: it redirects to no address`);
    }
    return await download(new URL(headers.location, parsed).href, signal, redirects + 1);
  }
  if (statusCode !== 200) {
    response.destroy();
    throw unavailable(`cannot download ${parsed.origin}: the server answers ${statusCode}`);
  }
  return response;
}
