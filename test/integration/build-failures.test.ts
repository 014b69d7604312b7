import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { ContainerSummary } from '../../src/spec/docker/container-view.ts';
import type { ImageSummary } from '../../src/spec/docker/image.ts';
import { type Box, openBox } from '../support/box.ts';
import { build, buildTar, buildWell, file } from '../support/build.ts';
import { layerTar } from '../support/images.ts';
import { eventually } from '../support/processes.ts';

/** Builds that fail, are refused, or are cut off: what they say and what they leave. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const containers = async (): Promise<ContainerSummary[]> =>
  (await box.daemon.json('GET', '/containers/json?all=1')) as ContainerSummary[];

const images = async (): Promise<ImageSummary[]> =>
  (await box.daemon.json('GET', '/images/json?all=1')) as ImageSummary[];

/** Waits until no build has left anything but images. */
async function nothingLeft(): Promise<void> {
  await eventually(
    async () => {
      const staged = readdirSync(path.join(box.daemon.dataRoot, 'staging'));
      const made = readdirSync(path.join(box.daemon.dataRoot, 'containers'));
      return staged.length + made.length === 0 ? true : undefined;
    },
    { what: 'nothing to be left of a build' },
  );
}

describe('a build that fails', () => {
  test('says with which code, and keeps the container unless it is asked not to', async () => {
    const lines = ['FROM BASE', 'RUN echo out; echo err >&2; exit 7'];
    const { error, text } = await build(box, lines);
    const message =
      "The command '/bin/sh -c echo out; echo err >&2; exit 7' returned a non-zero code: 7";
    assert.deepEqual(error, { code: 7, message });
    assert.match(text, /\nout\n/);
    assert.ok(text.includes('\x1b[91merr\n\x1b[0m'), text);
    const [kept, ...others] = await containers();
    assert.deepEqual([kept?.State, kept?.Labels, others], ['exited', {}, []]);
    await box.remove(kept?.Id ?? '');
    const forced = await build(box, lines, [], { forcerm: '1' });
    assert.match(forced.text, /Removing intermediate container/);
    assert.deepEqual(await containers(), []);
    await nothingLeft();
  });

  test('in its middle leaves the steps before it for the next attempt', async () => {
    const first = ['FROM BASE', 'RUN echo good > /good'];
    const bad = await build(box, [...first, 'RUN false'], [], { t: 'never', forcerm: '1' });
    assert.equal(bad.error?.code, 1);
    assert.equal((await box.daemon.api('GET', '/images/never/json')).status, 404);
    const good = await buildWell(box, [...first, 'RUN true'], [], { t: 'never' });
    assert.match(good.text, /Using cache/);
  });

  test('quietly says all when it fails, and its ID when it does not', async () => {
    const good = await buildWell(box, ['FROM BASE', 'RUN echo heard'], [], { q: '1' });
    assert.match(good.text, /^sha256:[0-9a-f]{64}\n$/);
    const bad = await build(box, ['FROM BASE', 'RUN echo heard; exit 3'], [], {
      ...{ q: '1', forcerm: '1' },
    });
    assert.match(bad.text, /^Step 1\/2[\s\S]*\nheard\n/);
    assert.equal(bad.error?.code, 3);
  });
});

describe('what cannot be built', () => {
  test('is refused before anything is done', async () => {
    const before = await images();
    const context = await layerTar([file('Dockerfile', 'FROM scratch\n'), file('empty', ' \n')]);
    const refusals: readonly (readonly [Uint8Array, Record<string, string>, string | RegExp])[] = [
      [
        context,
        { version: '2' },
        'BuildKit is not supported: set DOCKER_BUILDKIT=0 to build with the classic builder',
      ],
      [context, { squash: '1' }, 'squash is only supported with experimental mode'],
      [context, { outputs: '[{"Type":"local"}]' }, /outputs require BuildKit/],
      [context, { t: 'Not-A-Name' }, /must be lowercase/],
      [context, { dockerfile: 'other' }, 'Cannot locate specified Dockerfile: other'],
      [context, { dockerfile: '../Dockerfile2' }, /Cannot locate specified Dockerfile/],
      [context, { dockerfile: 'empty' }, 'the Dockerfile (empty) cannot be empty'],
      [context, { buildargs: '[]' }, /invalid value of parameter buildargs/],
      [Buffer.alloc(0), {}, 'Cannot locate specified Dockerfile: Dockerfile'],
      [Buffer.from('x'.repeat(1024)), {}, /invalid tar header/],
      [Buffer.from(context.subarray(0, 520)), {}, /unexpected EOF/],
      [Buffer.from('BZh91AY&SY'), {}, /bzip2/],
      [
        await layerTar([file('Dockerfile', 'FROM scratch\n\nWHAT x\n')]),
        {},
        'dockerfile parse error line 3: unknown instruction: WHAT',
      ],
    ];
    for (const [tar, query, expected] of refusals) {
      const { status, refusal } = await buildTar(box, tar, query);
      assert.equal(status, 400, `${JSON.stringify(query)}: ${status} ${refusal}`);
      if (typeof expected === 'string') assert.equal(refusal, expected);
      else assert.match(refusal, expected);
    }
    assert.deepEqual(await images(), before);
    await nothingLeft();
  });

  test('is told in its step', async () => {
    const messages: string[] = [];
    for (const lines of [
      ['FROM $NOTHING'],
      ['FROM scratch'],
      ['FROM scratch', 'RUN true'],
      ['FROM BASE', 'COPY --from=9 /a /b'],
      ['FROM BASE', 'ENV A'],
      ['FROM BASE', 'STOPSIGNAL NOPE'],
      ['FROM BASE', 'ONBUILD FROM x'],
    ]) {
      const { error, refusal } = await build(box, lines);
      messages.push(error?.message ?? refusal);
    }
    assert.deepEqual(messages, [
      'base name ($NOTHING) should not be blank',
      'No image was generated. Is your Dockerfile empty?',
      'RUN needs files to run: an empty image has none',
      'invalid from flag value 9: there is no such stage before this one',
      'dockerfile parse error line 2: ENV must have two arguments',
      'dockerfile parse error line 2: invalid signal: NOPE',
      "dockerfile parse error line 2: FROM isn't allowed as an ONBUILD trigger",
    ]);
    const missing = await build(box, ['FROM 127.0.0.1:1/no/image']);
    assert.match(missing.error?.message ?? missing.refusal, /connect/i);
  });
});

/** Begins a build of a RUN that never ends; resolves when it runs. */
async function beginEndless(): Promise<{ readonly leave: () => void }> {
  const text = `FROM ${box.image}\nRUN echo first > /first\nRUN echo running; sleep 1000\n`;
  const context = await layerTar([file('Dockerfile', text), file('big', 'x'.repeat(1 << 20))]);
  const call = request({
    ...{ socketPath: box.daemon.socket, method: 'POST', path: '/build?networkmode=none' },
    headers: { 'content-type': 'application/x-tar' },
  });
  call.on('error', () => undefined); // it is cut off
  call.end(context);
  await new Promise<void>((resolve) => {
    call.once('response', (response) => {
      response.on('error', () => undefined);
      response.on('data', (chunk: Buffer) => {
        if (chunk.includes('"running\\n"')) resolve();
      });
    });
  });
  return { leave: () => call.destroy() };
}

describe('a build that is cut off', () => {
  test('ends with its client and leaves nothing behind', async () => {
    const { leave } = await beginEndless();
    assert.equal((await containers()).length, 1);
    leave();
    await nothingLeft();
    assert.deepEqual(await containers(), []);
  });

  test('by the death of the daemon is swept by the next one', async () => {
    await beginEndless();
    assert.equal((await containers())[0]?.State, 'running');
    await box.daemon.restart('SIGKILL');
    await nothingLeft();
    assert.deepEqual(await containers(), []);
    const again = await buildWell(box, ['FROM BASE', 'RUN echo first > /first', 'RUN echo']);
    assert.equal(again.text.split('Using cache').length - 1, 1);
  });

  test('is not cut off by a prune, which leaves the steps of a running one', async () => {
    const { leave } = await beginEndless();
    const [step] = await containers();
    const pruned = await box.daemon.api('POST', '/images/prune');
    assert.equal(pruned.status, 200, pruned.text);
    const refused = await box.daemon.api('DELETE', `/images/${step?.ImageID}?force=1`);
    assert.equal(refused.status, 409, refused.text);
    assert.match(refused.text, /image is being used by a running build/);
    leave();
    await nothingLeft();
    await box.daemon.json('DELETE', `/images/${step?.ImageID}`);
  });

  test('has no bearing on others that run meanwhile', async () => {
    const lines = (n: number): string[] => ['FROM BASE', 'COPY f /f', `RUN cat /f > /g${n}`];
    const builds = await Promise.all(
      [1, 2, 3, 4].map((n) => buildWell(box, lines(n % 3), [file('f', 'x')], { t: `many${n}` })),
    );
    assert.equal(new Set(builds.map(({ id }) => id)).size >= 3, true);
    await nothingLeft();
  });
});

test('a client that reads slowly gets all that a RUN says', async () => {
  const lines = ['FROM BASE', 'RUN yes 0123456789012345678901234567890 | head -n 400000'];
  const text = lines.map((line) => line.replace('BASE', box.image)).join('\n');
  const context = await layerTar([file('Dockerfile', text)]);
  const call = request({
    ...{ socketPath: box.daemon.socket, method: 'POST', path: '/build?networkmode=none' },
    headers: { 'content-type': 'application/x-tar' },
  });
  call.end(context);
  let bytes = 0;
  let end = '';
  await new Promise<void>((resolve, reject) => {
    call.once('error', reject);
    call.once('response', (response) => {
      response.on('data', (chunk: Buffer) => {
        if (bytes === 0) {
          response.pause();
          setTimeout(() => response.resume(), 1500);
        }
        bytes += chunk.length;
        end = chunk.toString();
      });
      response.on('error', reject);
      response.on('end', resolve);
    });
  });
  assert.ok(bytes > 400_000 * 33, String(bytes));
  assert.match(end, /Successfully built/);
});
