import type { Driver } from './driver.ts';

/** No network: a namespace with nothing but its loopback. */
export function noneDriver(): Driver {
  return {
    hasLinks: false,
    usesFirewall: false,
    defaultRoute: () => 'none',
    create: () => undefined,
    restore: () => undefined,
    remove: async () => undefined,
    join: () => undefined,
    leave: async () => undefined,
  };
}
