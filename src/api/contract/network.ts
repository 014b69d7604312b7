import { networkConnect, networkCreate, networkDisconnect } from '../../spec/docker/network.ts';
import type {
  NetworkCreateResult,
  NetworkPruneResult,
  NetworkView,
} from '../../spec/docker/network-view.ts';
import { type EndpointSpec, empty, jsonBody, value } from './endpoint.ts';
import { filters, flag, text } from './fields.ts';

/** Endpoints of networks. */
export const networkEndpoints = {
  networkList: {
    method: 'GET',
    path: '/networks',
    query: { filters },
    answer: value<readonly NetworkView[]>(),
  },
  networkCreate: {
    method: 'POST',
    path: '/networks/create',
    body: jsonBody(networkCreate, { required: true }),
    answer: value<NetworkCreateResult>(201),
  },
  networkPrune: {
    method: 'POST',
    path: '/networks/prune',
    query: { filters },
    answer: value<NetworkPruneResult>(),
    since: [1, 25],
  },
  networkInspect: {
    method: 'GET',
    path: '/networks/{id}',
    query: { verbose: flag, scope: text },
    answer: value<NetworkView>(),
  },
  networkRemove: { method: 'DELETE', path: '/networks/{id}', answer: empty() },
  networkConnect: {
    method: 'POST',
    path: '/networks/{id}/connect',
    body: jsonBody(networkConnect, { required: true }),
    answer: empty(200),
  },
  networkDisconnect: {
    method: 'POST',
    path: '/networks/{id}/disconnect',
    body: jsonBody(networkDisconnect, { required: true }),
    answer: empty(200),
  },
} as const satisfies Record<string, EndpointSpec>;
