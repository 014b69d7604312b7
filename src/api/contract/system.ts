import { type AuthResult, authConfig } from '../../spec/docker/auth.ts';
import type { EventMessage } from '../../spec/docker/event.ts';
import type {
  DiskUsage,
  SystemCheck,
  SystemInfo,
  SystemVersion,
  SystemWear,
} from '../../spec/docker/system.ts';
import { bytes, type EndpointSpec, jsonBody, lines, value } from './endpoint.ts';
import { filters, flag, integer, text, texts } from './fields.ts';

/** Endpoints of the engine itself. */
export const systemEndpoints = {
  systemPing: { method: 'GET', path: '/_ping', answer: bytes() },
  systemPingHead: { method: 'HEAD', path: '/_ping', answer: bytes() },
  systemVersion: { method: 'GET', path: '/version', answer: value<SystemVersion>() },
  systemInfo: { method: 'GET', path: '/info', answer: value<SystemInfo>() },
  systemEvents: {
    method: 'GET',
    path: '/events',
    query: { since: text, until: text, filters },
    answer: lines<EventMessage>(),
  },
  systemDf: {
    method: 'GET',
    path: '/system/df',
    query: { type: texts },
    answer: value<DiskUsage>(),
    since: [1, 25],
  },
  systemWear: { method: 'GET', path: '/system/wear', answer: value<SystemWear>() },
  /** `olderThan` in seconds: what is younger may be about to be named. */
  systemCheck: {
    method: 'POST',
    path: '/system/check',
    query: { sweep: flag, olderThan: integer },
    answer: value<SystemCheck>(),
  },
  systemAuth: {
    method: 'POST',
    path: '/auth',
    body: jsonBody(authConfig, { required: true }),
    answer: value<AuthResult>(),
  },
} as const satisfies Record<string, EndpointSpec>;
