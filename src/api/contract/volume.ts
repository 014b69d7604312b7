import {
  type Volume,
  type VolumeListResult,
  type VolumePruneResult,
  volumeCreate,
} from '../../spec/docker/volume.ts';
import { type EndpointSpec, empty, jsonBody, value } from './endpoint.ts';
import { filters, flag } from './fields.ts';

/** Endpoints of volumes. */
export const volumeEndpoints = {
  volumeList: {
    method: 'GET',
    path: '/volumes',
    query: { filters },
    answer: value<VolumeListResult>(),
  },
  volumeCreate: {
    method: 'POST',
    path: '/volumes/create',
    body: jsonBody(volumeCreate, { required: true }),
    answer: value<Volume>(201),
  },
  volumePrune: {
    method: 'POST',
    path: '/volumes/prune',
    query: { filters },
    answer: value<VolumePruneResult>(),
    since: [1, 25],
  },
  volumeInspect: { method: 'GET', path: '/volumes/{name}', answer: value<Volume>() },
  volumeRemove: {
    method: 'DELETE',
    path: '/volumes/{name}',
    query: { force: flag },
    answer: empty(),
  },
} as const satisfies Record<string, EndpointSpec>;
