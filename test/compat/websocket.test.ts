import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { EventMessage } from '../../src/spec/docker/event.ts';
import { type Box, openBox } from '../support/box.ts';
import { eventually, freePort, runOk } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';

/** Attach over a websocket, by the clients that Node and Debian bring. */

let box: Box;
let port: number;
before(async () => {
  port = await freePort();
  box = await openBox({ flags: ['--host', `tcp://127.0.0.1:${port}`] });
});
after(() => box[Symbol.asyncDispose]());

/** A terminal's container that answers each line. */
const ANSWERING = 'while read x; do echo "got $x"; done';

/** One connection: what came, as text, and how it ended. */
class Attached {
  readonly socket: WebSocket;
  text = '';
  closed: number | undefined;

  constructor(id: string, query = 'stream=1&stdin=1&stdout=1&stderr=1') {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/v1.41/containers/${id}/attach/ws?${query}`);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onmessage = ({ data }) => {
      // Binary, since v1.28: what a process writes need not be text.
      assert.ok(data instanceof ArrayBuffer);
      this.text += Buffer.from(data).toString('latin1');
    };
    this.socket.onclose = ({ code }) => {
      this.closed = code;
    };
  }

  async opened(): Promise<void> {
    await eventually(() => this.socket.readyState === WebSocket.OPEN || this.closed !== undefined);
  }

  async shows(pattern: RegExp): Promise<void> {
    await eventually(() => pattern.test(this.text), { what: `${pattern} in ${this.text}` });
  }

  async over(): Promise<number> {
    return (await eventually(() => (this.closed === undefined ? undefined : { code: this.closed })))
      .code;
  }
}

describe("Node's websocket", () => {
  test('misses nothing of a container that it waited for, nor its end', async () => {
    const id = await box.create({
      Cmd: ['sh', '-c', "printf 'a\\377b'; echo err >&2; read x; echo got $x"],
      OpenStdin: true,
      StdinOnce: true,
    });
    const client = new Attached(id);
    await client.opened();
    await box.start(id);
    await client.shows(/a\xffb/);
    await client.shows(/err\n/);
    client.socket.send('as text\n');
    await client.shows(/got as text\n/);
    assert.equal(await client.over(), 1000);
    assert.equal(await box.wait(id), 0);
    await box.remove(id);
  });

  test('has a terminal that is resized, and leaves it by the detach keys', async () => {
    const id = await box.up({
      Cmd: [
        'sh',
        '-c',
        `trap "stty size" WINCH; stty -echo; echo ready; while :; do read x && echo "got $x"; done`,
      ],
      Tty: true,
      OpenStdin: true,
    });
    const client = new Attached(id, 'logs=1&stream=1&stdin=1&stdout=1&detachKeys=ctrl-x,q');
    await client.shows(/ready\r\n/);
    client.socket.send(Buffer.from('one\r'));
    await client.shows(/got one\r\n/);
    await box.daemon.json('POST', `/containers/${id}/resize?h=13&w=31`);
    await client.shows(/13 31\r\n/);
    client.socket.send(Buffer.from('\x18'));
    client.socket.send(Buffer.from('q'));
    assert.equal(await client.over(), 1000);
    const view = await box.inspect(id);
    assert.equal(view.State.Running, true);
    const filters = encodeURIComponent(JSON.stringify({ container: [id] }));
    const query = `since=1&until=${Date.now() / 1000 + 0.005}&filters=${filters}`;
    const { text } = await box.daemon.api('GET', `/events?${query}`);
    const actions = text
      .split('\n')
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as EventMessage).Action);
    assert.deepEqual(actions.slice(-3), ['attach', 'resize', 'detach']);
    await box.remove(id);
  });

  test('of one stream gets that one alone, and cannot write where it did not ask to', async () => {
    const id = await box.up({ Cmd: ['sh', '-c', ANSWERING], OpenStdin: true });
    const reader = new Attached(id, 'stream=1&stdout=1');
    await reader.opened();
    reader.socket.send('unheard\n');
    const writer = new Attached(id, 'stream=1&stdin=1');
    await writer.opened();
    writer.socket.send('heard\n');
    await reader.shows(/got heard\n/);
    assert.deepEqual([reader.text, writer.text], ['got heard\n', '']);
    await box.remove(id);
    assert.deepEqual([await reader.over(), await writer.over()], [1000, 1000]);
  });

  test('is refused before the handshake, and one that vanishes leaves nothing', async () => {
    const refused = new Attached('nobody');
    assert.equal(await refused.over(), 1006);
    const id = await box.up({ Cmd: ['sh', '-c', ANSWERING], OpenStdin: true });
    await new Attached(id).opened();
    const before = takeStock(box.daemon, [id]).descriptors.length;
    for (let round = 0; round < 10; round += 1) {
      const client = new Attached(id);
      await client.opened();
      client.socket.close();
      assert.equal(await client.over(), 1000);
    }
    await eventually(() => takeStock(box.daemon, [id]).descriptors.length <= before);
    assert.equal((await box.inspect(id)).State.Running, true);
    await box.remove(id);
  });
});

const PYTHON = `
import docker, sys
client = docker.APIClient(base_url='tcp://127.0.0.1:' + sys.argv[1])
socket = client.attach_socket(sys.argv[2], ws=True,
                              params={'stdin': 1, 'stdout': 1, 'stderr': 1, 'stream': 1})
client.start(sys.argv[2])
socket.send('from python\\n')
seen = b''
while b'got from python\\n' not in seen:
    seen += socket.recv()
socket.ping('still there?')
socket.send_binary(b'twice\\n')
while b'got twice\\n' not in seen:
    seen += socket.recv()
socket.close()
print(client.inspect_container(sys.argv[2])['State']['Status'])
`;

test("docker-py's attach_socket over a websocket", async () => {
  const id = await box.create({ Cmd: ['sh', '-c', ANSWERING], OpenStdin: true });
  const stdout = await runOk('/usr/bin/python3', ['-c', PYTHON, String(port), id]);
  assert.equal(stdout, 'running\n');
  await box.remove(id);
});
