import { invalidArgument } from '../../../base/errors.ts';
import type { Driver } from './driver.ts';

/** The host's own network: containers have no namespace of theirs, so there is nothing to join. */
export function hostDriver(): Driver {
  const refuse = (): never => {
    throw invalidArgument(
      'container cannot be disconnected from host network or connected to host network',
    );
  };
  return {
    hasLinks: false,
    usesFirewall: false,
    defaultRoute: () => 'none',
    create: () => undefined,
    restore: () => undefined,
    remove: async () => undefined,
    join: refuse,
    leave: async () => refuse(),
  };
}
