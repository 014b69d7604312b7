import { setTimeout as sleep } from 'node:timers/promises';
import { openSession, type RegistrySession } from '../registry/session.ts';
import type { RegistryAccess } from './pull-protocol.ts';

/** A session with a registry, as a worker opens it. */
export async function openWorkerSession(
  access: RegistryAccess,
  signal: AbortSignal,
): Promise<RegistrySession> {
  return await openSession({
    domain: access.domain,
    config: access.config,
    credentials: access.credentials ?? undefined,
    agent: access.agent,
    signal,
    random: Math.random,
    sleep: async (ms, abort) => {
      await sleep(ms, undefined, { signal: abort });
    },
  });
}
