import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/** `wait` on each condition, whatever becomes of the container meanwhile. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

/** A wait whose headers have come, so that it is known to be registered. */
class Waiting {
  readonly socket: Socket;
  #text = '';

  constructor(id: string, condition: string) {
    this.socket = connect(box.daemon.socket).setEncoding('utf8');
    this.socket.on('data', (chunk: string) => {
      this.#text += chunk;
    });
    const address = `/v1.41/containers/${id}/wait?condition=${condition}`;
    this.socket.write(`POST ${address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  }

  async registered(): Promise<this> {
    await eventually(() => this.#text.startsWith('HTTP/1.1 200 '), { what: 'the headers' });
    return this;
  }

  get isOver(): boolean {
    return this.#text.includes('StatusCode');
  }

  async code(): Promise<number> {
    await eventually(() => this.isOver, { what: 'the exit code' });
    return Number(/"StatusCode":(\d+)/.exec(this.#text)?.[1]);
  }
}

const waiting = async (id: string, condition: string): Promise<Waiting> =>
  await new Waiting(id, condition).registered();

const CONDITIONS = ['', 'not-running', 'next-exit', 'removed'];

describe('wait', () => {
  test('on a container that stopped is over at once for those that asked for that', async () => {
    const id = await box.up({ Cmd: ['sh', '-c', 'exit 3'] });
    await box.until(id, 'exited');
    assert.equal(await (await waiting(id, '')).code(), 3);
    assert.equal(await (await waiting(id, 'not-running')).code(), 3);
    const next = await waiting(id, 'next-exit');
    const removed = await waiting(id, 'removed');
    await box.start(id);
    assert.equal(await next.code(), 3);
    assert.equal(removed.isOver, false);
    await box.remove(id);
    assert.equal(await removed.code(), 3);
  });

  for (const condition of CONDITIONS) {
    test(`${condition || 'without a condition'}: removed while it runs, or with --rm`, async () => {
      const forced = await box.up({ Cmd: ['sleep', '100'] });
      const wait = await waiting(forced, condition);
      assert.equal(wait.isOver, false);
      await box.remove(forced);
      assert.equal(await wait.code(), 137);

      const own = await box.create({
        Cmd: ['sh', '-c', 'exit 7'],
        HostConfig: { AutoRemove: true },
      });
      const before = condition === 'next-exit' || condition === 'removed';
      const early = before ? await waiting(own, condition) : undefined;
      await box.start(own);
      if (early !== undefined) assert.equal(await early.code(), 7);
      await eventually(async () => {
        const { status } = await box.daemon.api('GET', `/containers/${own}/json`);
        return status === 404;
      });
    });
  }

  test('for the next exit, or the removal, of one that never runs ends with it', async () => {
    for (const condition of ['next-exit', 'removed']) {
      const id = await box.create({ Cmd: ['true'] });
      const wait = await waiting(id, condition);
      await box.remove(id);
      assert.equal(await wait.code(), 0, condition);
    }
  });

  test('for the next exit goes on when a start fails: that is none', async () => {
    const id = await box.create({
      Cmd: ['true'],
      HostConfig: { Binds: ['/proc/nonexistent:/x'] },
    });
    const wait = await waiting(id, 'next-exit');
    assert.equal((await box.daemon.api('POST', `/containers/${id}/start`)).status, 500);
    assert.equal(await (await waiting(id, 'not-running')).code(), 128);
    assert.equal(wait.isOver, false);
    await box.remove(id);
    assert.equal(await wait.code(), 128);
  });

  test('ends when the policy cannot start it again', async () => {
    using folder = temporaryFolder('gone');
    const source = path.join(folder.path, 'source');
    mkdirSync(source);
    const id = await box.up({
      Cmd: ['sh', '-c', 'sleep 0.5; exit 5'],
      HostConfig: {
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 },
        Mounts: [{ Type: 'bind', Source: source, Target: '/x' }],
      },
    });
    const wait = await waiting(id, 'next-exit');
    rmSync(source, { recursive: true });
    assert.equal(await wait.code(), 5);
    assert.equal(await (await waiting(id, 'not-running')).code(), 128);
    await box.remove(id);
  });

  test('sees each exit of one that is restarted, and its removal after the last', async () => {
    const id = await box.up({
      Cmd: ['sh', '-c', 'sleep 0.3; exit 5'],
      HostConfig: { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } },
    });
    const removed = await waiting(id, 'removed');
    for (let round = 0; round < 2; round += 1) {
      assert.equal(await (await waiting(id, 'next-exit')).code(), 5);
    }
    const view = await box.until(id, 'exited');
    assert.equal(view.RestartCount, 2);
    assert.equal(removed.isOver, false);
    await box.remove(id);
    assert.equal(await removed.code(), 5);
  });

  test('of a client that goes is forgotten; a bad condition or name is refused', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'] });
    for (const condition of CONDITIONS) (await waiting(id, condition)).socket.destroy();
    const bad = await box.daemon.api('POST', `/containers/${id}/wait?condition=soon`);
    assert.equal(bad.status, 400);
    assert.match(bad.text, /invalid condition: /);
    assert.equal((await box.daemon.api('POST', '/containers/nope/wait')).status, 404);
    await box.remove(id);
  });
});

test('checkpoints are not implemented, in one sentence, and change nothing', async () => {
  const id = await box.create({ Cmd: ['true'] });
  for (const [method, address, body] of [
    ['POST', `/containers/${id}/checkpoints`, { CheckpointID: 'one', Exit: true }],
    ['GET', `/containers/${id}/checkpoints`, undefined],
    ['DELETE', `/containers/${id}/checkpoints/one`, undefined],
    ['POST', `/containers/${id}/start?checkpoint=one`, undefined],
  ] as const) {
    const answer = await box.daemon.api(method, address, body);
    assert.equal(answer.status, 501, address);
    assert.match((answer.json() as { message: string }).message, /^checkpoint.* not supported/);
  }
  assert.equal((await box.inspect(id)).State.Status, 'created');
  await box.remove(id);
});
