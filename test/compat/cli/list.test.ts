import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { type Decoder, json } from '../../../src/spec/decode.ts';
import { containerConfig, updateRequest } from '../../../src/spec/docker/container.ts';
import { networkConnect, networkCreate } from '../../../src/spec/docker/network.ts';
import { volumeCreate } from '../../../src/spec/docker/volume.ts';
import { parseFilters } from '../../../src/spec/filters.ts';
import { coracle } from '../../support/cli.ts';
import { dockerClis, hasOurWords } from '../../support/docker-cli.ts';
import { type Outcome, run } from '../../support/processes.ts';
import { type RecordedRequest, recordingDaemon } from '../../support/recording-daemon.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { ANSWERS } from './list-answers.ts';
import { LIST_LINES } from './list-lines.ts';
import { splitWords } from './words.ts';

/** Outputs, exit codes and requests of our client against those of the newest docker CLI. */

process.env['TZ'] = 'UTC';

/**
 * What Docker asks besides: pings, swarm and plugins, which are no part of ours, and the cache of
 * builds, of which there is none.
 */
const ASIDE = /^\/(?:_ping|info|services|nodes|tasks|secrets|configs|plugins|build)\b/;

/** Here the client asks less, or in another order. */
const OTHER_REQUESTS = /Nope|^(?:attach|exec) /;

const BODIES: readonly (readonly [RegExp, Decoder<unknown>])[] = [
  [/\/update$/, updateRequest],
  [/^\/networks\/create$/, networkCreate],
  [/^\/networks\/.*\/connect$/, networkConnect],
  [/^\/volumes\/create$/, volumeCreate],
  [/^\/commit$/, containerConfig],
];

/** Docker's client takes address pools from a map: their order is any. */
function withSortedPools(body: unknown): unknown {
  const pools = (body as { IPAM?: { Config?: unknown[] | null } } | undefined)?.IPAM?.Config;
  pools?.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  return body;
}

/** A request as the daemon reads it. */
function meaningOf({ method, path: where, query, body }: RecordedRequest): unknown {
  const decoder = BODIES.find(([pattern]) => pattern.test(where))?.[1] ?? json;
  const given = Object.entries(query).filter(([, values]) => values.some((each) => each !== ''));
  return {
    method,
    path: where,
    query: Object.fromEntries(
      given.map(([key, values]) => [
        key,
        key === 'filters' ? parseFilters(values[0] ?? '') : values,
      ]),
    ),
    body: withSortedPools(withoutEmpty(decoder.decode(body, ''))),
  };
}

/** The daemon makes no difference between empty and missing here. */
function withoutEmpty(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, each]) => [key, withoutEmpty(each)] as const)
      .filter(([, each]) => each !== null && each !== '' && JSON.stringify(each) !== '[]'),
  );
}

/** Without the line about the cache of builds in the question of `system prune`. */
function withoutBuilds(outcome: Outcome): Outcome {
  return { ...outcome, stdout: outcome.stdout.replace(/^ {2}- .*build cache\n/m, '') };
}

/** Lines of JSON by what they say: Docker escapes `<` and `>` in some of them. */
function readable(outcome: Outcome): unknown {
  const lines = outcome.stdout.split('\n').map((line): unknown => {
    if (!line.startsWith('{"')) return line;
    return JSON.parse(line);
  });
  return { ...outcome, stdout: lines };
}

const [newest] = await dockerClis();
assert.ok(newest);

const skip = hasOurWords(newest) ? false : 'no docker client of version 28 or later here';

test(`commands answer as those of docker ${newest.version}`, { skip }, async () => {
  using folder = temporaryFolder('lists');
  await using daemon = await recordingDaemon(ANSWERS);
  const requests = (): unknown[] =>
    daemon.requests
      .splice(0)
      .filter(({ path: where }) => !ASIDE.test(where))
      .map(meaningOf)
      .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  for (const line of LIST_LINES) {
    const args = splitWords(line).map((word) => word.replaceAll('\\"', '"'));
    const env = { DOCKER_HOST: daemon.host, DOCKER_CONFIG: path.join(folder.path, 'c'), TZ: 'UTC' };
    const theirs = await run(newest.path, args, { env });
    const asked = requests();
    const ours = await coracle(args, { host: daemon.host, program: 'docker' });
    const sent = requests();
    assert.deepEqual(readable(ours), readable(withoutBuilds(theirs)), line);
    if (!OTHER_REQUESTS.test(line)) assert.deepEqual(sent, asked, line);
  }
});
