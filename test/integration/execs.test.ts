import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { StdcopyReader } from '../../src/formats/stdcopy.ts';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';

/** Processes beside a container's own, and connections to either. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

/** A connection that the daemon has handed over, and what came in over it. */
class Hijacked {
  readonly socket: Socket;
  #bytes = Buffer.alloc(0);
  readonly head: Promise<string>;
  readonly ended: Promise<void>;

  constructor(address: string, body: object = {}) {
    this.socket = connect({ path: box.daemon.socket, allowHalfOpen: true });
    const text = JSON.stringify(body);
    this.socket.write(
      `POST ${address} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    );
    this.ended = new Promise((resolve) => this.socket.once('end', () => resolve()));
    this.socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
    });
    this.head = eventually(() => this.#split()?.head);
  }

  #split(): { head: string; rest: Buffer } | undefined {
    const at = this.#bytes.indexOf('\r\n\r\n');
    if (at < 0) return undefined;
    return { head: this.#bytes.toString('latin1', 0, at), rest: this.#bytes.subarray(at + 4) };
  }

  /** What followed the headers, as it came. */
  get raw(): string {
    return this.#split()?.rest.toString() ?? '';
  }

  /** The same by stream. */
  get text(): { stdout: string; stderr: string } {
    const out = { stdout: '', stderr: '' };
    for (const { stream, bytes } of new StdcopyReader().push(
      this.#split()?.rest ?? Buffer.alloc(0),
    )) {
      if (stream === 'stdout' || stream === 'stderr') out[stream] += bytes.toString();
    }
    return out;
  }
}

async function makeExec(id: string, body: object): Promise<string> {
  const made = await box.daemon.json('POST', `/containers/${id}/exec`, body);
  return (made as { Id: string }).Id;
}

const ALL = { AttachStdin: true, AttachStdout: true, AttachStderr: true };

describe('attach', () => {
  test('before the start misses not a byte', async () => {
    for (let round = 0; round < 5; round += 1) {
      const id = await box.create({ Cmd: ['sh', '-c', 'echo first; echo second >&2'] });
      const client = new Hijacked(`/containers/${id}/attach?stream=1&stdout=1&stderr=1`);
      assert.match(await client.head, /^HTTP\/1\.1 101 UPGRADED/);
      await box.start(id);
      await client.ended;
      assert.deepEqual(client.text, { stdout: 'first\n', stderr: 'second\n' });
      client.socket.end();
      await box.remove(id);
    }
  });

  test('carries stdin, and its end reaches the process', async () => {
    const id = await box.create({
      Cmd: ['cat'],
      OpenStdin: true,
      StdinOnce: true,
      AttachStdin: true,
    });
    const client = new Hijacked(`/containers/${id}/attach?stream=1&stdin=1&stdout=1`);
    await client.head;
    await box.start(id);
    const data = 'x'.repeat(300_000);
    client.socket.end(data);
    await client.ended;
    assert.equal(client.text.stdout, data);
    assert.equal(await box.wait(id), 0);
    await box.remove(id);
  });

  test('many clients see the same; one that leaves disturbs nobody', async () => {
    const id = await box.up({ Cmd: ['sh', '-c', 'while :; do echo x; sleep 0.05; done'] });
    const address = `/containers/${id}/attach?stream=1&stdout=1`;
    const clients = [new Hijacked(address), new Hijacked(address), new Hijacked(address)] as const;
    for (const client of clients) await eventually(() => client.text.stdout.length > 4);
    clients[0].socket.destroy();
    const seen = clients[1].text.stdout.length;
    await eventually(() => clients[1].text.stdout.length > seen + 8);
    await box.remove(id);
    await Promise.all([clients[1].ended, clients[2].ended]);
    for (const client of clients) client.socket.destroy();
  });

  test('with logs shows what was there before', async () => {
    const id = await box.up({ Cmd: ['sh', '-c', 'echo early; sleep 100'] });
    await eventually(async () => (await box.logs(id)) === 'early\n');
    const client = new Hijacked(`/containers/${id}/attach?logs=1&stream=1&stdout=1`);
    await eventually(() => client.text.stdout === 'early\n');
    client.socket.destroy();
    await box.remove(id);
  });

  test('the detach keys leave a terminal without ending it', async () => {
    const id = await box.up({ Cmd: ['cat'], Tty: true, OpenStdin: true });
    const client = new Hijacked(`/containers/${id}/attach?stream=1&stdin=1&stdout=1`);
    await client.head;
    client.socket.write('hello\r');
    await eventually(() => client.raw.includes('hello\r\nhello\r\n'));
    client.socket.write('\x10');
    client.socket.write('\x11');
    await client.ended;
    client.socket.end();
    assert.equal((await box.inspect(id)).State.Status, 'running');
    const other = new Hijacked(`/containers/${id}/attach?stream=1&stdin=1&stdout=1&detachKeys=a,b`);
    await other.head;
    // An `a` that no `b` follows was not the keys.
    other.socket.write('xax');
    await eventually(() => other.raw.includes('xax'));
    other.socket.write('ab');
    await other.ended;
    assert.doesNotMatch(other.raw, /xaxa/);
    other.socket.end();
    const bad = await box.daemon.api('POST', `/containers/${id}/attach?stream=1&detachKeys=nope`);
    assert.deepEqual([bad.status, /Invalid detach keys/.test(bad.text)], [400, true]);
    await box.daemon.json('POST', `/containers/${id}/resize?h=33&w=77`);
    assert.equal((await box.exec(id, 'stty', '-F', '/dev/console', 'size')).output, '33 77\n');
    await box.remove(id);
  });
});

describe('exec', () => {
  test('runs beside the container, with its environment and user', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'], Env: ['A=1', 'B=2'], WorkingDir: '/tmp' });
    assert.deepEqual(await box.exec(id, 'sh', '-c', 'echo $A; pwd; exit 7'), {
      code: 7,
      output: '1\n/tmp\n',
    });
    const exec = await makeExec(id, {
      ...ALL,
      User: 'user',
      Env: ['B=3'],
      WorkingDir: '/',
      Cmd: ['sh', '-c', 'id -u; echo $B $HOME; pwd; cat'],
    });
    const client = new Hijacked(`/exec/${exec}/start`, { Detach: false });
    client.socket.end('from stdin');
    await client.ended;
    assert.equal(client.text.stdout, '1000\n3 /home/user\n/\nfrom stdin');
    await box.remove(id);
  });

  for (const [command, code, words] of [
    [
      'nope',
      127,
      /^OCI runtime exec failed: exec failed: .*exec: "nope": executable file not found in \$PATH: unknown/,
    ],
    ['/etc/motd', 126, /permission denied/],
  ] as const) {
    test(`of ${command} says why not, and ends with ${code}`, async () => {
      const id = await box.up({ Cmd: ['sleep', '100'] });
      const attached = await box.exec(id, command);
      assert.equal(attached.code, code);
      assert.match(attached.output, words);
      const detached = await makeExec(id, { Cmd: [command] });
      const answer = await box.daemon.api('POST', `/exec/${detached}/start`, { Detach: true });
      assert.equal(answer.status, 400);
      await box.remove(id);
    });
  }

  test('detached it runs by itself', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'] });
    const exec = await makeExec(id, { Cmd: ['sh', '-c', 'echo made > /made'] });
    const answer = await box.daemon.api('POST', `/exec/${exec}/start`, { Detach: true });
    assert.deepEqual([answer.status, answer.text], [200, '']);
    await eventually(async () => (await box.exec(id, 'cat', '/made')).output === 'made\n');
    await box.remove(id);
  });

  test('has a terminal of its own that can be resized', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'] });
    const exec = await makeExec(id, { ...ALL, Tty: true, Cmd: ['sh', '-c', 'read x; stty size'] });
    const client = new Hijacked(`/exec/${exec}/start`, { Tty: true });
    await eventually(async () => {
      const view = (await box.daemon.json('GET', `/exec/${exec}/json`)) as { Running: boolean };
      return view.Running;
    });
    await box.daemon.json('POST', `/exec/${exec}/resize?h=11&w=22`);
    client.socket.write('\r');
    await client.ended;
    assert.match(client.raw, /11 22\r\n/);
    client.socket.end();
    await box.remove(id);
  });

  test('is refused where it cannot be', async () => {
    const id = await box.create({ Cmd: ['sleep', '100'] });
    const status = async (method: string, address: string, body?: object): Promise<number> =>
      (await box.daemon.api(method, address, body)).status;
    assert.equal(await status('POST', `/containers/${id}/exec`, { Cmd: ['true'] }), 409);
    await box.start(id);
    assert.equal(await status('POST', `/containers/${id}/exec`, { Cmd: [] }), 400);
    assert.equal(await status('POST', '/exec/nope/start', {}), 404);
    assert.equal(await status('GET', '/exec/nope/json'), 404);
    const exec = await makeExec(id, { Cmd: ['true'] });
    assert.equal(await status('POST', `/exec/${exec}/start`, { Detach: true }), 200);
    assert.equal(await status('POST', `/exec/${exec}/start`, { Detach: true }), 409);
    await box.remove(id);
    assert.equal(await status('GET', `/exec/${exec}/json`), 404);
  });

  test('a hundred of them, some cut off by their clients, leave nothing', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'] });
    const one = async (): Promise<unknown> => await box.exec(id, 'true');
    await one();
    const before = takeStock(box.daemon, [id]);
    for (let round = 0; round < 20; round += 1) {
      const exec = await makeExec(id, { ...ALL, Cmd: ['sh', '-c', 'sleep 0.2'] });
      const client = new Hijacked(`/exec/${exec}/start`, {});
      await client.head;
      client.socket.destroy();
      await Promise.all([one(), one(), one(), one()]);
    }
    await eventually(
      () => {
        const left = takeStock(box.daemon, [id]);
        assert.deepEqual(left.mounts, before.mounts);
        return (
          left.processes.length === before.processes.length &&
          left.descriptors.length <= before.descriptors.length + 1
        );
      },
      { what: 'shims and descriptors to go' },
    );
    await box.remove(id);
  });
});
