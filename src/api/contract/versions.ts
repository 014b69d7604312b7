import { invalidArgument } from '../../base/errors.ts';
import type { ApiVersion } from './endpoint.ts';

/** The versions of the Engine API that are served. */
export const API_VERSION_MAX: ApiVersion = [1, 51];
export const API_VERSION_MIN: ApiVersion = [1, 24];

/** `1.51`. */
export function formatApiVersion([major, minor]: ApiVersion): string {
  return `${major}.${minor}`;
}

/** Negative, zero or positive, as a sort function has it. */
export function compareApiVersions(a: ApiVersion, b: ApiVersion): number {
  return a[0] === b[0] ? a[1] - b[1] : a[0] - b[0];
}

/** `1.41`; undefined when it is not a version. */
export function parseApiVersion(text: string): ApiVersion | undefined {
  const m = /^(\d{1,3})\.(\d{1,3})$/.exec(text);
  return m === null ? undefined : [Number(m[1]), Number(m[2])];
}

/** @throws invalidArgument with Docker's texts when the version is not served */
export function checkApiVersion(version: ApiVersion): void {
  const shown = formatApiVersion(version);
  if (compareApiVersions(version, API_VERSION_MIN) < 0) {
    throw invalidArgument(
      `client version ${shown} is too old. Minimum supported API version is ${formatApiVersion(API_VERSION_MIN)}, please upgrade your client to a newer version`,
    );
  }
  if (compareApiVersions(version, API_VERSION_MAX) > 0) {
    throw invalidArgument(
      `client version ${shown} is too new. Maximum supported API version is ${formatApiVersion(API_VERSION_MAX)}`,
    );
  }
}
