import { VERSION } from '../../base/version.ts';
import { credentialsOf } from '../../registry/auth.ts';
import type { AuthConfig } from '../../spec/docker/auth.ts';
import type { RegistryAccess } from '../../worker/pull-protocol.ts';
import type { Engine } from '../engine.ts';

/** How a worker gets at a registry: the daemon's configuration and the client's credentials. */
export function registryAccess(
  engine: Pick<Engine, 'config'>,
  domain: string,
  auth: AuthConfig | undefined,
): RegistryAccess {
  const { insecureRegistries, registryMirrors, httpProxy, httpsProxy, noProxy } = engine.config();
  return {
    domain,
    credentials: credentialsOf(auth) ?? null,
    config: { insecureRegistries, registryMirrors, httpProxy, httpsProxy, noProxy },
    agent: `coracle/${VERSION}`,
  };
}
