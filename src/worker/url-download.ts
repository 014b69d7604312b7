import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { invalidArgument, messageOf, unavailable } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { systemAuthorities } from '../registry/tls-context.ts';

/** A server that sends nothing for so long is given up. */
const STALL_TIMEOUT_MS = 60_000;

/**
 * GET of what a user names, following redirects.
 * @throws invalidArgument for what is no URL; unavailable when it cannot be had
 */
export async function download(
  url: string,
  signal: AbortSignal,
  redirects = 0,
): Promise<IncomingMessage> {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
    throw invalidArgument(`cannot download ${JSON.stringify(url)}: use http:// or https://`);
  }
  // Loaded where they are needed: they take 2 MB.
  const request =
    parsed.protocol === 'https:'
      ? (await import('node:https')).get(parsed, { signal, ca: systemAuthorities() })
      : (await import('node:http')).get(parsed, { signal });
  request.setTimeout(STALL_TIMEOUT_MS, () => request.destroy(new Error('the server is silent')));
  // Of a failure after the answer began the answer tells.
  request.on('error', () => undefined);
  let response: IncomingMessage;
  try {
    [response] = (await once(request, 'response')) as [IncomingMessage];
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
