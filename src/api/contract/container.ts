import { containerConfig, createRequest, updateRequest } from '../../spec/docker/container.ts';
import type {
  ContainerCreateResult,
  ContainerInspect,
  ContainerPruneResult,
  ContainerSummary,
  ContainerTopResult,
  ContainerUpdateResult,
  ContainerWaitResult,
  FilesystemChange,
  IdResult,
} from '../../spec/docker/container-view.ts';
import type { ContainerStats } from '../../spec/docker/stats.ts';
import {
  bytes,
  type EndpointSpec,
  empty,
  hijack,
  jsonBody,
  later,
  lines,
  rawBody,
  value,
  websocket,
} from './endpoint.ts';
import { filters, flag, flagTrue, integer, text, texts } from './fields.ts';

const attachQuery = {
  detachKeys: text,
  logs: flag,
  stream: flag,
  stdin: flag,
  stdout: flag,
  stderr: flag,
} as const;

/** Endpoints of containers. */
export const containerEndpoints = {
  containerList: {
    method: 'GET',
    path: '/containers/json',
    /** `since` and `before` are filters that clients before v1.22 sent as parameters. */
    query: { all: flag, limit: integer, size: flag, filters },
    answer: value<readonly ContainerSummary[]>(),
  },
  containerCreate: {
    method: 'POST',
    path: '/containers/create',
    query: { name: text, platform: text },
    body: jsonBody(createRequest, { required: true }),
    answer: value<ContainerCreateResult>(201),
  },
  containerPrune: {
    method: 'POST',
    path: '/containers/prune',
    query: { filters },
    answer: value<ContainerPruneResult>(),
    since: [1, 25],
  },
  containerInspect: {
    method: 'GET',
    path: '/containers/{id}/json',
    query: { size: flag },
    answer: value<ContainerInspect>(),
  },
  containerTop: {
    method: 'GET',
    path: '/containers/{id}/top',
    query: { ps_args: text },
    answer: value<ContainerTopResult>(),
  },
  containerLogs: {
    method: 'GET',
    path: '/containers/{id}/logs',
    query: {
      follow: flag,
      stdout: flag,
      stderr: flag,
      since: text,
      until: text,
      timestamps: flag,
      tail: text,
      details: flag,
    },
    answer: bytes(),
  },
  containerChanges: {
    method: 'GET',
    path: '/containers/{id}/changes',
    answer: value<readonly FilesystemChange[] | null>(),
  },
  containerExport: { method: 'GET', path: '/containers/{id}/export', answer: bytes() },
  containerStats: {
    method: 'GET',
    path: '/containers/{id}/stats',
    query: { stream: flagTrue, 'one-shot': flag },
    answer: lines<ContainerStats>(),
  },
  containerResize: {
    method: 'POST',
    path: '/containers/{id}/resize',
    query: { h: integer, w: integer },
    answer: empty(200),
  },
  containerStart: {
    method: 'POST',
    path: '/containers/{id}/start',
    query: { detachKeys: text, checkpoint: text, 'checkpoint-dir': text },
    answer: empty(),
  },
  containerStop: {
    method: 'POST',
    path: '/containers/{id}/stop',
    query: { signal: text, t: integer },
    answer: empty(),
  },
  containerRestart: {
    method: 'POST',
    path: '/containers/{id}/restart',
    query: { signal: text, t: integer },
    answer: empty(),
  },
  containerKill: {
    method: 'POST',
    path: '/containers/{id}/kill',
    query: { signal: text },
    answer: empty(),
  },
  containerUpdate: {
    method: 'POST',
    path: '/containers/{id}/update',
    body: jsonBody(updateRequest, { required: true }),
    answer: value<ContainerUpdateResult>(),
  },
  containerRename: {
    method: 'POST',
    path: '/containers/{id}/rename',
    query: { name: text },
    answer: empty(),
  },
  containerPause: { method: 'POST', path: '/containers/{id}/pause', answer: empty() },
  containerUnpause: { method: 'POST', path: '/containers/{id}/unpause', answer: empty() },
  containerAttach: {
    method: 'POST',
    path: '/containers/{id}/attach',
    query: attachQuery,
    answer: hijack(),
  },
  containerAttachWebsocket: {
    method: 'GET',
    path: '/containers/{id}/attach/ws',
    query: attachQuery,
    answer: websocket(),
  },
  containerWait: {
    method: 'POST',
    path: '/containers/{id}/wait',
    query: { condition: text },
    answer: later<ContainerWaitResult>(),
  },
  containerRemove: {
    method: 'DELETE',
    path: '/containers/{id}',
    query: { v: flag, force: flag, link: flag },
    answer: empty(),
  },
  containerArchiveHead: {
    method: 'HEAD',
    path: '/containers/{id}/archive',
    query: { path: text },
    answer: bytes(),
  },
  containerArchiveGet: {
    method: 'GET',
    path: '/containers/{id}/archive',
    query: { path: text },
    answer: bytes(),
  },
  containerArchivePut: {
    method: 'PUT',
    path: '/containers/{id}/archive',
    query: { path: text, noOverwriteDirNonDir: flag, copyUIDGID: flag },
    body: rawBody,
    answer: empty(200),
  },
  containerCommit: {
    method: 'POST',
    path: '/commit',
    query: {
      container: text,
      repo: text,
      tag: text,
      comment: text,
      author: text,
      pause: flagTrue,
      changes: texts,
    },
    body: jsonBody(containerConfig),
    answer: value<IdResult>(201),
  },
} as const satisfies Record<string, EndpointSpec>;
