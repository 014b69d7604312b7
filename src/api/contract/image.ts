import { nullable } from '../../spec/decode.ts';
import {
  type DistributionInspect,
  type ImageDeleteItem,
  type ImageHistoryItem,
  type ImageInspect,
  type ImagePruneResult,
  type ImageSearchItem,
  type ImageSummary,
  platformWish,
} from '../../spec/docker/image.ts';
import { bytes, type EndpointSpec, empty, progress, rawBody, value } from './endpoint.ts';
import {
  filters,
  flag,
  integer,
  jsonText,
  registryAuth,
  text,
  texts,
  userAgent,
} from './fields.ts';

/** `platform={"os":"linux","architecture":"arm64"}`, from v1.48; null when absent. */
const platform = jsonText(nullable(platformWish));

/** Endpoints of images. */
export const imageEndpoints = {
  imageList: {
    method: 'GET',
    path: '/images/json',
    query: {
      all: flag,
      filters,
      'shared-size': flag,
      digests: flag,
      manifests: flag,
      /** A reference; only clients before v1.25 send it. */
      filter: text,
    },
    answer: value<readonly ImageSummary[]>(),
  },
  imageImport: {
    method: 'POST',
    path: '/images/create',
    when: 'fromSrc',
    /** `fromSrc` is `-` for the body, or a URL. */
    query: { fromSrc: text, repo: text, tag: text, message: text, changes: texts, platform: text },
    body: rawBody,
    answer: progress(),
  },
  imagePull: {
    method: 'POST',
    path: '/images/create',
    /** `delta` (`auto`, `never` or `require`) and `limitRate` (`500k`) are ours. */
    query: { fromImage: text, tag: text, platform: text, delta: text, limitRate: text },
    headers: { registryAuth },
    answer: progress(),
  },
  imageLoad: {
    method: 'POST',
    path: '/images/load',
    query: { quiet: flag, platform: texts },
    body: rawBody,
    answer: progress(),
  },
  imageSearch: {
    method: 'GET',
    path: '/images/search',
    query: { term: text, limit: integer, filters },
    headers: { registryAuth },
    answer: value<readonly ImageSearchItem[]>(),
  },
  imagePrune: {
    method: 'POST',
    path: '/images/prune',
    query: { filters },
    answer: value<ImagePruneResult>(),
    since: [1, 25],
  },
  /** Several images in one archive. */
  imageSave: {
    method: 'GET',
    path: '/images/get',
    query: { names: texts, platform: texts },
    answer: bytes(),
  },
  /** One image; the same function as {@link imageEndpoints.imageSave}. */
  imageSaveOne: {
    method: 'GET',
    path: '/images/{name...}/get',
    query: { platform: texts },
    answer: bytes(),
  },
  /** balenaEngine's: from `src` to `dest`, tagged `t`. */
  imageDelta: {
    method: 'POST',
    path: '/images/delta',
    query: { src: text, dest: text, t: text },
    answer: progress(),
  },
  /** What a name stands for in its registry, without a pull. */
  imageDistribution: {
    method: 'GET',
    path: '/distribution/{name...}/json',
    headers: { registryAuth },
    answer: value<DistributionInspect>(),
    since: [1, 30],
  },
  imageInspect: {
    method: 'GET',
    path: '/images/{name...}/json',
    query: { manifests: flag, platform },
    headers: { userAgent },
    answer: value<ImageInspect>(),
  },
  imageHistory: {
    method: 'GET',
    path: '/images/{name...}/history',
    query: { platform },
    answer: value<readonly ImageHistoryItem[]>(),
  },
  imagePush: {
    method: 'POST',
    path: '/images/{name...}/push',
    query: { tag: text, platform },
    headers: { registryAuth },
    answer: progress(),
  },
  /** Ours: reads all of an image, and says what is damaged. */
  imageVerify: {
    method: 'POST',
    path: '/images/{name...}/verify',
    answer: progress(),
  },
  imageTag: {
    method: 'POST',
    path: '/images/{name...}/tag',
    query: { repo: text, tag: text },
    answer: empty(201),
  },
  imageRemove: {
    method: 'DELETE',
    path: '/images/{name...}',
    query: { force: flag, noprune: flag, platforms: texts },
    answer: value<readonly ImageDeleteItem[]>(),
  },
} as const satisfies Record<string, EndpointSpec>;
