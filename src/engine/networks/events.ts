import type { Engine } from '../engine.ts';
import type { Network } from './network.ts';

/** Tells that something happened to a network, with the attributes that Docker gives. */
export function networkEvent(
  engine: Pick<Engine, 'events'>,
  network: Network,
  action: 'create' | 'destroy' | 'connect' | 'disconnect',
  containerId?: string,
): void {
  engine.events.publish({
    type: 'network',
    action,
    id: network.id,
    attributes: {
      ...(containerId === undefined ? {} : { container: containerId }),
      name: network.name,
      type: network.driver,
    },
  });
}
