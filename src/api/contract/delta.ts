import { type EndpointSpec, progress } from './endpoint.ts';
import { registryAuth, text, texts } from './fields.ts';

/** Endpoints of our own deltas (docs/deltas.md). Docker has none of them. */
export const deltaEndpoints = {
  deltaPublish: {
    method: 'POST',
    path: '/deltas/publish',
    query: { target: text, base: texts },
    headers: { registryAuth },
    answer: progress(),
  },
} as const satisfies Record<string, EndpointSpec>;
