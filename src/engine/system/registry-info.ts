import type { RegistryIndexInfo, SystemInfo } from '../../spec/docker/system.ts';
import type { EngineConfig } from '../../spec/engine-config.ts';
import { atLeast, type Call } from '../call.ts';

/** Loopback is always reached without TLS when there is none. */
const LOOPBACK = ['::1/128', '127.0.0.0/8'];

/** How registries are reached, as `docker info` shows it. */
export function registryInfo(
  config: Pick<EngineConfig, 'insecureRegistries' | 'registryMirrors'>,
  call: Call,
): Pick<SystemInfo, 'IndexServerAddress' | 'RegistryConfig'> {
  const isCidr = (text: string): boolean => text.includes('/');
  const mirrors = config.registryMirrors.map((url) => (url.endsWith('/') ? url : `${url}/`));
  const index = (Name: string, Secure: boolean, Official: boolean): RegistryIndexInfo => ({
    Name,
    Mirrors: Official ? mirrors : [],
    Secure,
    Official,
  });
  const indexes: Record<string, RegistryIndexInfo> = {
    'docker.io': index('docker.io', true, true),
  };
  for (const name of config.insecureRegistries) {
    if (!isCidr(name)) indexes[name] = index(name, false, false);
  }
  return {
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: {
      ...(atLeast(call, 1, 49)
        ? {}
        : {
            AllowNondistributableArtifactsCIDRs: null,
            AllowNondistributableArtifactsHostnames: null,
          }),
      InsecureRegistryCIDRs: [...LOOPBACK, ...config.insecureRegistries.filter(isCidr)],
      IndexConfigs: indexes,
      Mirrors: mirrors.length === 0 ? null : mirrors,
    },
  };
}
