import type { Engine } from '../engine.ts';
import type { Container } from './container.ts';

/** Tells that something happened to a container, with the attributes that Docker gives. */
export function containerEvent(
  engine: Pick<Engine, 'events'>,
  container: Container,
  action: string,
  attributes: Readonly<Record<string, string>> = {},
): void {
  engine.events.publish({
    type: 'container',
    action,
    id: container.id,
    attributes: {
      ...container.document.config.Labels,
      ...attributes,
      image: container.document.config.Image,
      name: container.name,
    },
  });
}
