import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Box, openBox } from '../support/box.ts';
import { fingerprint } from '../support/fingerprint.ts';
import { eventually } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';

/** Clients that vanish, terminals that are dead, containers that take all they can get. */

type IdOnly = { readonly Id: string };

let box: Box;
before(async () => {
  box = await openBox();
  await box.run({ Cmd: ['true'] });
});
after(() => box[Symbol.asyncDispose]());

/** A request whose answer goes on and on; resolves when something of its body is there. */
async function hangOn(method: string, address: string): Promise<Socket> {
  const socket = connect(box.daemon.socket);
  socket.on('error', () => undefined);
  const upgrade = method === 'POST' ? 'Connection: Upgrade\r\nUpgrade: tcp\r\n' : '';
  socket.write(`${method} ${address} HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`);
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    if (text.length < 10_000) text += chunk.toString('latin1');
  });
  await eventually(() => text.split('\r\n\r\n')[1], { what: `a body of ${address}` });
  return socket;
}

describe('clients that vanish', () => {
  const CHATTER = ['sh', '-c', 'while :; do echo 12345678901234567890; sleep 0.01; done'];

  test('in the middle of attach, logs, stats and events leave nothing', async () => {
    const id = await box.up({ Cmd: CHATTER, Tty: false });
    const streams: readonly (readonly [string, string])[] = [
      ['POST', `/containers/${id}/attach?stream=1&stdout=1&stderr=1`],
      ['POST', `/containers/${id}/attach?stream=1&logs=1&stdout=1`],
      ['GET', `/containers/${id}/logs?follow=1&stdout=1`],
      ['GET', `/containers/${id}/stats`],
      ['GET', '/events?since=1'],
    ];
    for (const [method, address] of streams) (await hangOn(method, address)).destroy();
    const quiet = async (): Promise<ReturnType<typeof takeStock>> => {
      await sleep(300);
      return takeStock(box.daemon, [id]);
    };
    const before = await quiet();
    for (let round = 0; round < 4; round += 1) {
      const sockets = await Promise.all(
        streams.map(([method, address]) => hangOn(method, address)),
      );
      for (const socket of sockets) socket.destroy();
    }
    let left = before;
    const isClean = async (): Promise<boolean> => {
      left = await quiet();
      return (
        left.processes.length <= before.processes.length &&
        left.descriptors.length <= before.descriptors.length
      );
    };
    await eventually(isClean, { timeoutMs: 30_000 }).catch(() => undefined);
    assert.deepEqual(left.processes, before.processes);
    const extra = left.descriptors.length - before.descriptors.length;
    assert.ok(extra <= 0, `${left.descriptors.join(' ')}, before: ${before.descriptors.join(' ')}`);
    assert.equal((await box.inspect(id)).State.Status, 'running');
    await box.remove(id);
  });

  test('one that waits for a start that never comes is forgotten with its container', async () => {
    const id = await box.create({ Cmd: ['true'] });
    await sleep(300);
    const before = takeStock(box.daemon).descriptors.length;
    const address = `/containers/${id}/attach?stream=1&stdout=1`;
    const sockets = Array.from({ length: 5 }, () => {
      const socket = connect(box.daemon.socket).resume();
      socket.on('error', () => undefined);
      socket.write(
        `POST ${address} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
      );
      return socket;
    });
    await eventually(() => takeStock(box.daemon).descriptors.length >= before + 5);
    for (const socket of sockets.slice(0, 3)) socket.destroy();
    await box.remove(id);
    await eventually(() => takeStock(box.daemon).descriptors.length <= before);
    for (const socket of sockets) socket.destroy();
  });
});

describe('terminals', () => {
  test('a dead one cannot be resized, nor one with a size that is none', async () => {
    const id = await box.up({ Cmd: ['sh', '-c', 'read x'], Tty: true, OpenStdin: true });
    const resize = async (query: string): Promise<number> =>
      (await box.daemon.api('POST', `/containers/${id}/resize?${query}`)).status;
    assert.equal(await resize('h=10&w=20'), 200);
    for (const query of ['h=-1&w=10', 'h=x&w=10', 'h=99999999999&w=1', 'h=70000&w=1']) {
      assert.equal(await resize(query), 400, query);
    }
    await box.daemon.json('POST', `/containers/${id}/kill`);
    const answer = await box.daemon.api('POST', `/containers/${id}/resize?h=10&w=20`);
    assert.equal(answer.status, 409, answer.text);
    assert.match(answer.text, /is not running/);
    await box.remove(id);
  });

  test('one that dies while it is resized is resized or is not running, nothing else', async () => {
    const seen = new Set<string>();
    for (let round = 0; round < 8; round += 1) {
      const id = await box.up({ Cmd: ['sleep', '100'], Tty: true });
      const config = { Cmd: ['sleep', '0.2'], Tty: true, AttachStdout: true };
      const exec = (await box.daemon.json('POST', `/containers/${id}/exec`, config)) as IdOnly;
      const resize = async (what: string): Promise<void> => {
        const { status, text } = await box.daemon.api('POST', `${what}/resize?h=10&w=20`);
        seen.add(status === 200 ? '200' : `${status} ${text.replaceAll(/[0-9a-f]{64}/g, 'ID')}`);
      };
      await resize(`/exec/${exec.Id}`); // not yet started
      await box.daemon.json('POST', `/exec/${exec.Id}/start`, { Detach: true });
      let over = false;
      const spin = async (what: string): Promise<void> => {
        while (!over) await resize(what);
      };
      const spinning = [spin(`/exec/${exec.Id}`), spin(`/containers/${id}`)];
      await sleep(250);
      await box.daemon.json('POST', `/containers/${id}/kill`);
      over = true;
      await Promise.all(spinning);
      await resize(`/containers/${id}`);
      await box.remove(id);
    }
    assert.deepEqual([...seen].sort(), [
      '200',
      '409 {"message":"Container ID is not running"}\n',
      '409 {"message":"exec command ID is not running"}\n',
    ]);
  });

  test('an exec that has none is resized in vain, one that never ran is not running', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'] });
    const resized = async (config: object): Promise<number> => {
      const exec = (await box.daemon.json('POST', `/containers/${id}/exec`, config)) as IdOnly;
      await box.daemon.api('POST', `/exec/${exec.Id}/start`, { Detach: true });
      return (await box.daemon.api('POST', `/exec/${exec.Id}/resize?h=10&w=20`)).status;
    };
    assert.equal(await resized({ Cmd: ['sleep', '5'] }), 200);
    assert.equal(await resized({ Cmd: ['/no/such/command'], Tty: true }), 409);
    for (const query of ['', '?h=1', '?h=-1&w=1', '?h=1&w=70000', '?h=1&w=x']) {
      const answer = await box.daemon.api('POST', `/containers/${id}/resize${query}`);
      assert.equal(answer.status, 400, query);
      assert.match(answer.text, /size of a terminal|invalid syntax/);
    }
    assert.equal((await box.daemon.api('POST', '/exec/nope/resize?h=1&w=1')).status, 404);
    await box.remove(id);
  });
});

describe('containers that take all they can get', () => {
  test('a log is bounded, though nobody asked for a bound', async () => {
    const words = 'x'.repeat(1000);
    const id = await box.up({ Cmd: ['sh', '-c', `yes ${words} | head -n 60000; echo last`] });
    assert.equal(await box.wait(id), 0);
    const view = await box.inspect(id);
    const folder = path.dirname(view.LogPath);
    const files = readdirSync(folder).filter((name) => name.startsWith(`${id}-json.log`));
    const sizes = files.map((name) => statSync(path.join(folder, name)).size);
    assert.equal(files.length, 3);
    for (const size of sizes) assert.ok(size < 10_100_000, sizes.join(' '));
    const tail = await box.daemon.api('GET', `/containers/${id}/logs?stdout=1&tail=1`);
    assert.match(tail.text, /last\n$/);
    await box.remove(id);
    assert.ok(!existsSync(folder));
  });

  test('one that forks without end stops at its pids limit, and goes whole', async () => {
    const id = await box.up({
      Cmd: ['sh', '-c', 'while :; do sleep 100 & done'],
      HostConfig: { PidsLimit: 20 },
    });
    // The shell gives up when it cannot fork; what it left goes with its namespace.
    const view = await box.until(id, 'exited');
    assert.notEqual(view.State.ExitCode, 0);
    assert.match(await box.logs(id, 'stderr'), /fork/);
    await eventually(() => takeStock(box.daemon, [id]).cgroups.length === 0);
    await box.remove(id);
  });

  test('one that eats its memory is killed: OOMKilled, 137, and its policy restarts it', async () => {
    const id = await box.up({
      Cmd: ['sh', '-c', 'x=a; while :; do x=$x$x; done'],
      HostConfig: {
        Memory: 8 << 20,
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 1 },
      },
    });
    const view = await box.until(id, 'exited');
    assert.deepEqual([view.State.OOMKilled, view.State.ExitCode], [true, 137]);
    assert.equal(view.RestartCount, 1);
    await box.remove(id);
  });
});

test('probes of healthchecks and restarts by a policy write nothing to the data root', async () => {
  const Healthcheck = { Test: ['CMD-SHELL', 'echo fine'], Interval: 1e8 };
  const probed = await box.up({ Cmd: ['sleep', '100'], Healthcheck });
  const restarted = await box.up({
    Cmd: ['false'],
    HostConfig: { RestartPolicy: { Name: 'always' } },
  });
  const probes = async (): Promise<number> =>
    (await box.inspect(probed)).State.Health?.Log?.length ?? 0;
  const { dataRoot } = box.daemon;
  // Not the writable layers' working folders, which each mount of an overlay makes anew.
  const look = (): [name: string, what: string][] =>
    Object.entries(fingerprint(dataRoot)).filter(
      ([name]) => !/^containers\/\w+\/(?:work|upper)?\b/.test(name),
    );
  await eventually(async () => (await probes()) > 1);
  const before = look();
  const { RestartCount } = await box.inspect(restarted);
  await eventually(async () => (await probes()) === 5);
  await eventually(async () => (await box.inspect(restarted)).RestartCount > RestartCount);
  assert.deepEqual(look(), before);
  await box.remove(probed);
  await box.remove(restarted);
});
