import { type Reference, repositoryOf } from '../base/reference.ts';
import type { AuthConfig } from '../spec/docker/auth.ts';
import type { CliOutput } from './context.ts';
import { credentialsIfAny, HUB_SERVER } from './credentials.ts';
import { hideProgress, showProgress } from './progress.ts';
import type { Session } from './session.ts';

/**
 * Pulls an image, or without tag and digest all tags of its repository, and shows progress unless
 * `quiet`.
 * @throws EngineError with what the daemon or the registry says
 */
export async function pullImage(
  session: Session,
  reference: Reference,
  options: {
    readonly platform: string;
    /** `auto`, `never` or `require`; the daemon's own when it is left out. */
    readonly delta?: string;
    /** Bytes in a second; the daemon's own when it is left out. */
    readonly limitRate?: string;
    readonly quiet: boolean;
    readonly output: CliOutput;
  },
): Promise<void> {
  const client = await session.client();
  const messages = await client.imagePull({
    query: {
      fromImage: repositoryOf(reference),
      tag: reference.digest ?? reference.tag ?? '',
      platform: options.platform,
      delta: options.delta ?? '',
      limitRate: options.limitRate ?? '',
    },
    headers: { registryAuth: await authFor(session, reference) },
  });
  if (options.quiet) await hideProgress(messages);
  else await showProgress(messages, options.output);
}

/**
 * What to send along to the registry of an image; undefined when no credentials are known, also
 * because a helper fails: the registry may take anybody.
 */
export async function authFor(
  session: Session,
  reference: Pick<Reference, 'domain'>,
): Promise<AuthConfig | undefined> {
  const server = reference.domain === 'docker.io' ? HUB_SERVER : reference.domain;
  return await credentialsIfAny(session, server);
}
