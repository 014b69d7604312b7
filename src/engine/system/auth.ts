import { parseReference } from '../../base/reference.ts';
import type { AuthConfig, AuthResult } from '../../spec/docker/auth.ts';
import type { LoginResult, RegistryInput } from '../../worker/pull-protocol.ts';
import type { Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { registryAccess } from '../images/registry-access.ts';

/** What old clients send for Docker Hub. */
const HUB_ADDRESSES = new Set(['', 'index.docker.io', 'registry-1.docker.io', 'docker.io']);

/**
 * The registry that a server address means: `https://index.docker.io/v1/` is docker.io.
 * @throws invalidArgument when it is no registry's name
 */
export function registryOfAddress(address: string): string {
  const bare = address.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  if (HUB_ADDRESSES.has(bare)) return 'docker.io';
  // The grammar of references decides what a registry's name may be. A bare word is a host as well.
  if (/[.:]/.test(bare) || bare === 'localhost') return parseReference(`${bare}/x`).domain;
  return parseReference(`${bare}:443/x`).domain.replace(/:443$/, '');
}

/**
 * `POST /auth`: tries credentials on their registry. Nothing is kept.
 * @throws unauthorized when the registry does not take them
 */
export async function systemAuth(
  engine: Pick<Engine, 'config' | 'workers'>,
  args: { readonly body: AuthConfig },
  call: Call,
): Promise<AuthResult> {
  const domain = registryOfAddress(args.body.serveraddress);
  const input: RegistryInput = {
    ask: 'login',
    access: registryAccess(engine, domain, args.body),
  };
  await using job = await engine.workers.start('registry', input, { signal: call.signal });
  const { identityToken } = (await job.result) as LoginResult;
  return { Status: 'Login Succeeded', IdentityToken: identityToken };
}
