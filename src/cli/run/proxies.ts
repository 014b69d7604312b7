import type { ProxyConfig } from '../config-file.ts';

/** Which variables a field of `proxies` sets; both spellings, as programs look for either. */
const VARIABLES: readonly (readonly [keyof ProxyConfig, string])[] = [
  ['httpProxy', 'HTTP_PROXY'],
  ['httpsProxy', 'HTTPS_PROXY'],
  ['noProxy', 'NO_PROXY'],
  ['ftpProxy', 'FTP_PROXY'],
  ['allProxy', 'ALL_PROXY'],
];

/**
 * Environment that `proxies` of `config.json` gives to new containers: those of the daemon's host,
 * else of `default`. What `env` sets itself is left alone.
 */
export function proxyEnvironment(
  proxies: Readonly<Record<string, ProxyConfig>>,
  host: string,
  env: readonly string[],
): string[] {
  const proxy = proxies[host] ?? proxies['default'];
  if (proxy === undefined) return [];
  const taken = new Set(env.map((each) => each.split('=', 1)[0]));
  return VARIABLES.flatMap(([field, name]) => {
    const value = proxy[field];
    return value === ''
      ? []
      : [name, name.toLowerCase()]
          .filter((each) => !taken.has(each))
          .map((each) => `${each}=${value}`);
  });
}
