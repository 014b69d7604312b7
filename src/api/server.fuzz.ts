import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { createLogger } from '../base/log.ts';
import { serveApi } from './fixture.ts';
import { echoHandlers, hostileRequest, sendHostile } from './hostile.ts';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 3);
const seed = process.env['FUZZ_SEED'];

/** How many requests are under way at once. */
const AT_ONCE = 8;
const TIMEOUT_MS = 5_000;

test('hostile requests get an answer or a closed connection, and no failure of ours', async () => {
  const failures: string[] = [];
  const log = createLogger({
    level: () => 'error',
    time: () => '',
    write: (line) => failures.push(line),
  });
  await using api = await serveApi(echoHandlers(), { log });
  let sent = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(hostileRequest, { minLength: AT_ONCE, maxLength: AT_ONCE }),
      async (requests) => {
        const answers = await Promise.all(
          requests.map((bytes) => sendHostile(api.socketPath, bytes, TIMEOUT_MS)),
        );
        sent += requests.length;
        for (const answer of answers) {
          assert.notEqual(answer, undefined, 'no answer and no end');
          const status = /^HTTP\/1\.1 (\d{3}) /.exec(answer ?? '')?.[1];
          assert.ok(answer === '' || status !== undefined, String(answer).slice(0, 200));
          assert.notEqual(status, '500', String(answer));
        }
        assert.deepEqual(failures.splice(0), []);
      },
    ),
    {
      numRuns: Number.MAX_SAFE_INTEGER,
      interruptAfterTimeLimit: seconds * 1000,
      markInterruptAsFailure: false,
      ...(seed === undefined ? {} : { seed: Number(seed) }),
    },
  );
  assert.ok(sent > 100, `${sent} requests`);
  const ping = await api.exchange('GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n');
  assert.match(ping, /^HTTP\/1\.1 200 OK/);
  assert.equal(await connectionsAfter(api.server, 2_000), 0, 'connections left open');
});

/** Open connections once there are none, or after `ms`. */
async function connectionsAfter(server: Server, ms: number): Promise<number> {
  const deadline = Date.now() + ms;
  for (;;) {
    const count = await new Promise<number>((resolve, reject) =>
      server.getConnections((error, open) => (error ? reject(error) : resolve(open))),
    );
    if (count === 0 || Date.now() > deadline) return count;
    await sleep(20);
  }
}
