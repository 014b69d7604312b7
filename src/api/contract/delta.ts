import type { InspectedDelta } from '../../spec/delta-inspect.ts';
import type { DeltaPlan } from '../../spec/delta-plan.ts';
import { type EndpointSpec, progress, value } from './endpoint.ts';
import { registryAuth, text, texts } from './fields.ts';

/** Endpoints of our own deltas (docs/deltas.md). Docker has none of them. */
export const deltaEndpoints = {
  deltaInspect: {
    method: 'GET',
    path: '/deltas/inspect',
    query: { target: text, platform: text },
    headers: { registryAuth },
    answer: value<readonly InspectedDelta[]>(),
  },
  deltaPlan: {
    method: 'GET',
    path: '/deltas/plan',
    query: { target: text, platform: text },
    headers: { registryAuth },
    answer: value<DeltaPlan>(),
  },
  deltaPublish: {
    method: 'POST',
    path: '/deltas/publish',
    query: { target: text, base: texts },
    headers: { registryAuth },
    answer: progress(),
  },
} as const satisfies Record<string, EndpointSpec>;
