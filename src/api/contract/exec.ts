import { execConfig, execStart } from '../../spec/docker/container.ts';
import type { ExecInspect, IdResult } from '../../spec/docker/container-view.ts';
import { type EndpointSpec, empty, hijack, jsonBody, value } from './endpoint.ts';
import { integer } from './fields.ts';

/** Endpoints of processes started in a running container. */
export const execEndpoints = {
  execCreate: {
    method: 'POST',
    path: '/containers/{id}/exec',
    body: jsonBody(execConfig, { required: true }),
    answer: value<IdResult>(201),
  },
  execStart: {
    method: 'POST',
    path: '/exec/{id}/start',
    body: jsonBody(execStart),
    answer: hijack(),
  },
  execResize: {
    method: 'POST',
    path: '/exec/{id}/resize',
    query: { h: integer, w: integer },
    answer: empty(200),
  },
  execInspect: { method: 'GET', path: '/exec/{id}/json', answer: value<ExecInspect>() },
} as const satisfies Record<string, EndpointSpec>;
