import { setTimeout as sleep } from 'node:timers/promises';
import type { Credentials } from '../../src/registry/auth.ts';
import { openSession, type RegistrySession } from '../../src/registry/session.ts';

export const NO_PROXY = { httpProxy: '', httpsProxy: '', noProxy: '' };

/** A session for tests: short waits, which are recorded. */
export async function testSession(
  domain: string,
  options: {
    credentials?: Partial<Credentials>;
    mirrors?: readonly string[];
    insecure?: readonly string[];
    httpProxy?: string;
    signal?: AbortSignal;
    waits?: number[];
    stallMs?: number;
    certificateFolders?: readonly string[];
  } = {},
): Promise<RegistrySession> {
  const none = { username: '', password: '', identityToken: '', registryToken: '' };
  return await openSession({
    domain,
    config: {
      ...NO_PROXY,
      httpProxy: options.httpProxy ?? '',
      insecureRegistries: options.insecure ?? [],
      registryMirrors: options.mirrors ?? [],
    },
    credentials:
      options.credentials === undefined ? undefined : { ...none, ...options.credentials },
    signal: options.signal ?? new AbortController().signal,
    agent: 'coracle-test',
    random: () => 0.5,
    sleep: async (ms, signal) => {
      options.waits?.push(ms);
      await sleep(Math.min(ms, 5), undefined, { signal });
    },
    stallMs: options.stallMs ?? 400,
    certificateFolders: options.certificateFolders ?? [],
  });
}
