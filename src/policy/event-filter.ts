import type { EventMessage } from '../spec/docker/event.ts';
import { type Filters, matchLabels } from '../spec/filters.ts';

/**
 * Which events a client wants. Keys are joined by "and", the values of one key by "or". Source:
 * moby `daemon/events/filter.go`.
 */

/** Swarm's keys are known, for clients that send them; there are no such events. */
export const EVENT_FILTER_KEYS: readonly string[] = [
  'config',
  'container',
  'daemon',
  'event',
  'image',
  'label',
  'network',
  'node',
  'plugin',
  'scope',
  'secret',
  'service',
  'type',
  'volume',
];

/** Keys that name a thing by its ID or name, or the beginning of either. */
const THINGS = [
  'config',
  'container',
  'daemon',
  'network',
  'node',
  'plugin',
  'secret',
  'service',
  'volume',
];

/** Actions that carry more after a colon: `exec_create: sh`, `health_status: healthy`. */
const PREFIXED = new Set(['health_status', 'exec_create', 'exec_start']);

/** A predicate for the filters, with what can be prepared done once. */
export function eventFilter(filters: Filters): (event: EventMessage) => boolean {
  const checks: ((event: EventMessage) => boolean)[] = [];
  const given = (key: string): readonly string[] => filters[key] ?? [];
  const exact = (key: string, of: (event: EventMessage) => string): void => {
    const values = given(key);
    if (values.length > 0) checks.push((event) => values.includes(of(event)));
  };
  exact('type', (event) => event.Type);
  exact('scope', (event) => event.scope);
  const actions = given('event');
  if (actions.length > 0) checks.push((event) => actions.some((each) => isAction(event, each)));
  for (const key of THINGS) {
    const values = given(key);
    if (values.length > 0) {
      checks.push((event) => values.some((each) => isThing(event, key, each)));
    }
  }
  const images = given('image');
  if (images.length > 0) checks.push((event) => images.some((each) => isImage(event, each)));
  const labels = given('label');
  if (labels.length > 0) checks.push((event) => matchLabels(labels, event.Actor.Attributes));
  return (event) => checks.every((check) => check(event));
}

function isAction(event: EventMessage, wanted: string): boolean {
  if (event.Action === wanted) return true;
  return PREFIXED.has(wanted) && event.Action.startsWith(`${wanted}:`);
}

function isThing(event: EventMessage, key: string, wanted: string): boolean {
  const { ID, Attributes } = event.Actor;
  if (event.Type !== key) return false;
  return ID.startsWith(wanted) || Attributes['name']?.startsWith(wanted) === true;
}

function isImage(event: EventMessage, wanted: string): boolean {
  const { ID, Attributes } = event.Actor;
  const name = Attributes[event.Type === 'image' ? 'name' : 'image'];
  const candidates = event.Type === 'image' ? [ID, name] : [name];
  return candidates.some(
    (each) => each !== undefined && (each === wanted || withoutTag(each) === wanted),
  );
}

function withoutTag(reference: string): string {
  const colon = reference.lastIndexOf(':');
  return colon > reference.lastIndexOf('/') ? reference.slice(0, colon) : reference;
}
