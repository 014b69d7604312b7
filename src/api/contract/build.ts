import { array, map, nullable, string } from '../../spec/decode.ts';
import { ulimit } from '../../spec/docker/container.ts';
import type { BuildPruneResult } from '../../spec/docker/image.ts';
import { type EndpointSpec, hijack, progress, rawBody, value } from './endpoint.ts';
import {
  filters,
  flag,
  flagTrue,
  integer,
  jsonText,
  registryConfig,
  text,
  texts,
} from './fields.ts';

/** Endpoints of the classic builder. */
export const buildEndpoints = {
  imageBuild: {
    method: 'POST',
    path: '/build',
    query: {
      dockerfile: text,
      t: texts,
      extrahosts: texts,
      /** URL of a tar or of a Dockerfile, instead of the body. */
      remote: text,
      q: flag,
      nocache: flag,
      cachefrom: jsonText(array(string)),
      pull: flag,
      rm: flagTrue,
      forcerm: flag,
      memory: integer,
      memswap: integer,
      cpushares: integer,
      cpusetcpus: text,
      cpusetmems: text,
      cpuperiod: integer,
      cpuquota: integer,
      cgroupparent: text,
      ulimits: jsonText(array(ulimit)),
      buildargs: jsonText(map(nullable(string))),
      shmsize: integer,
      squash: flag,
      labels: jsonText(map(string)),
      networkmode: text,
      platform: text,
      target: text,
      /** BuildKit's, as is `version=2`. */
      outputs: text,
      version: text,
    },
    headers: { registryConfig },
    body: rawBody,
    answer: progress(),
  },
  /** What BuildKit's clients open beside a build; nothing is asked of them. */
  buildSession: {
    method: 'POST',
    path: '/session',
    answer: hijack(),
    since: [1, 39],
  },
  buildPrune: {
    method: 'POST',
    path: '/build/prune',
    query: { filters, all: flag, 'keep-storage': integer },
    answer: value<BuildPruneResult>(),
    since: [1, 31],
  },
} as const satisfies Record<string, EndpointSpec>;
