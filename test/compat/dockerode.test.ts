import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough, type Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import Docker from 'dockerode';
import { extract, pack } from 'tar-stream';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';

/** The chapters of dockerode on containers and execs, each call as its readme shows it. */

let box: Box;
let client: Docker;
before(async () => {
  box = await openBox();
  client = new Docker({ socketPath: box.daemon.socket });
});
after(() => box[Symbol.asyncDispose]());

/** What was read of a stream so far. */
function reading(stream: NodeJS.ReadableStream): { text: () => string; end: Promise<unknown> } {
  let text = '';
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return { text: () => text, end: once(stream, 'end') };
}

/** Both outputs of a stream that carries both. */
function apart(stream: NodeJS.ReadableStream): { stdout: () => string; stderr: () => string } {
  const [out, err] = [new PassThrough(), new PassThrough()];
  client.modem.demuxStream(stream, out, err);
  return { stdout: reading(out).text, stderr: reading(err).text };
}

async function up(
  options: Omit<Docker.ContainerCreateOptions, 'Image'>,
): Promise<Docker.Container> {
  const container = await client.createContainer({ Image: box.image, ...options });
  await container.start();
  return container;
}

const LONG = { Cmd: ['sleep', '100'], HostConfig: { NetworkMode: 'none' } };
const codeOf = (error: unknown): number => (error as { statusCode: number }).statusCode;

test('attach before the start, with stdin, output apart, and the end of it', async () => {
  const container = await client.createContainer({
    ...{ Image: box.image, OpenStdin: true, StdinOnce: true, AttachStdin: true },
    Cmd: ['sh', '-c', 'while read x; do echo "out $x"; echo "err $x" >&2; done; echo over'],
  });
  const stream = await container.attach({
    ...{ stream: true, stdin: true, stdout: true, stderr: true, hijack: true },
  });
  const said = apart(stream);
  await container.start();
  stream.write('one\n');
  await eventually(() => said.stdout() === 'out one\n' && said.stderr() === 'err one\n');
  stream.end('two\n');
  assert.deepEqual(await container.wait(), { StatusCode: 0 });
  await eventually(() => said.stdout() === 'out one\nout two\nover\n');
  await container.remove();
});

test('a terminal is attached raw, resized, and left by keys', async () => {
  const container = await up({ Cmd: ['sh'], Tty: true, OpenStdin: true });
  const options = { stream: true, stdin: true, stdout: true, hijack: true, detachKeys: 'ctrl-a' };
  const stream = await container.attach(options);
  const said = reading(stream);
  await container.resize({ h: 17, w: 53 });
  stream.write('stty size\r');
  await eventually(() => said.text().includes('17 53\r\n'));
  stream.write('\x01');
  await said.end;
  assert.equal((await container.inspect()).State.Running, true);
  await container.remove({ force: true });
});

test('exec: with stdin, with a terminal, detached, and its codes', async () => {
  const container = await up(LONG);
  const cat = await container.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
  const stream = await cat.start({ hijack: true, stdin: true });
  const said = apart(stream);
  stream.end('through');
  await eventually(() => said.stdout() === 'through');
  await eventually(async () => (await cat.inspect()).ExitCode === 0);

  const shell = { Cmd: ['sh', '-c', 'read x; stty size; exit 4'], Tty: true };
  const terminal = await container.exec({ ...shell, AttachStdin: true, AttachStdout: true });
  const raw = await terminal.start({ hijack: true, stdin: true, Tty: true });
  const shown = reading(raw);
  await terminal.resize({ h: 9, w: 99 });
  raw.write('\r');
  await eventually(() => shown.text().includes('9 99\r\n'));
  await eventually(async () => (await terminal.inspect()).ExitCode === 4);

  const alone = await container.exec({
    ...{ Cmd: ['sh', '-c', 'echo $A >/made; pwd >>/made; id -g >>/made'] },
    ...{ Env: ['A=b'], WorkingDir: '/var', User: '0:7' },
  });
  await alone.start({ Detach: true });
  await eventually(async () => (await alone.inspect()).ExitCode === 0);
  const made = await contents(await container.getArchive({ path: '/made' }));
  assert.equal(made.get('made'), 'b\n/var\n7\n');
  await assert.rejects(client.getExec('nope').inspect(), (error) => codeOf(error) === 404);
  await container.remove({ force: true });
});

test('logs: a part, all, and as they come', async () => {
  // Two pipes have no order between them but that of time.
  const says = 'for i in 1 2 3; do echo line $i; done; sleep 0.3; echo bad >&2; read x; echo last';
  const container = await up({
    Cmd: ['sh', '-c', says],
    OpenStdin: true,
  });
  await eventually(async () => (await container.logs({ stderr: true })).includes('bad'));
  const tail = await container.logs({ stdout: true, tail: 2, timestamps: true });
  assert.match(tail.subarray(8).toString(), /^\d{4}-\d\d-\d\dT[\d:.]+Z line 3\n$/);
  const since = Math.floor(Date.now() / 1000) + 100;
  assert.equal((await container.logs({ stdout: true, since })).length, 0);
  const following = await container.logs({ follow: true, stdout: true, stderr: true });
  const said = apart(following);
  const stdin = await container.attach({ stream: true, stdin: true, hijack: true });
  stdin.write('\n');
  await eventually(() => said.stdout().endsWith('last\n') && said.stderr() === 'bad\n');
  await container.wait();
  stdin.end();
  await container.remove();
});

test('stats, top, changes: one answer, or one each second', async () => {
  const container = await up({ Cmd: ['sh', '-c', 'echo x >/new; rm /etc/motd; exec sleep 100'] });
  const once_ = await container.stats({ stream: false });
  assert.ok(once_.memory_stats.usage > 0 && once_.precpu_stats.system_cpu_usage > 0);
  assert.ok(once_.networks['eth0'] !== undefined);
  const quick = await container.stats({ stream: false, 'one-shot': true });
  assert.equal(quick.precpu_stats.cpu_usage.total_usage, 0);
  const streaming = (await container.stats({ stream: true })) as unknown as Readable;
  const lines = reading(streaming);
  await eventually(() => lines.text().split('\n').length > 2);
  streaming.destroy();
  const { Titles, Processes } = await container.top({ ps_args: '-o pid,args' });
  assert.deepEqual([Titles, Processes[0]?.[1]], [['PID', 'COMMAND'], 'sleep 100']);
  const changes = (await container.changes()) as { Path: string; Kind: number }[];
  assert.deepEqual(
    changes.toSorted((a, b) => (a.Path < b.Path ? -1 : 1)),
    [
      { Path: '/etc', Kind: 0 },
      { Path: '/etc/motd', Kind: 2 },
      { Path: '/new', Kind: 1 },
    ],
  );
  await container.remove({ force: true });
});

/** Names and contents of an archive. */
async function contents(archive: NodeJS.ReadableStream): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const reader = extract();
  archive.pipe(reader);
  for await (const entry of reader) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    found.set(entry.header.name, Buffer.concat(chunks).toString());
  }
  return found;
}

test('files in, out, and told of; all of them; and as an image', async () => {
  const container = await up(LONG);
  const archive = pack();
  archive.entry({ name: 'in/file' }, 'sent');
  archive.finalize();
  await container.putArchive(archive.pipe(new PassThrough()), { path: '/var' });
  const back = await contents(await container.getArchive({ path: '/var/in' }));
  assert.equal(back.get('in/file'), 'sent');
  const info = (await container.infoArchive({ path: '/var/in/file' })) as unknown as Readable & {
    headers: Record<string, string>;
  };
  const header = info.headers['x-docker-container-path-stat'] ?? '';
  assert.equal((JSON.parse(Buffer.from(header, 'base64').toString()) as { size: number }).size, 4);
  const all = await contents(await container.export());
  assert.equal(all.get('var/in/file'), 'sent');
  await assert.rejects(container.getArchive({ path: '/no' }), (error) => codeOf(error) === 404);
  const { Id } = (await container.commit({
    ...{ repo: 'made', tag: 'v1', comment: 'why', author: 'me' },
    changes: ['CMD cat /var/in/file'],
  })) as { Id: string };
  const image = await client.getImage('made:v1').inspect();
  assert.deepEqual([image.Id, image.Author, image.Comment], [Id, 'me', 'why']);
  const out = new PassThrough();
  const said = reading(out);
  const [result] = (await client.run('made:v1', [], out, {})) as [{ StatusCode: number }];
  assert.deepEqual([result.StatusCode, said.text()], [0, 'sent']);
  await container.remove({ force: true });
});

test('update, rename, pause, kill, restart, stop, wait, remove, prune; and their events', async () => {
  const stream = (await client.getEvents({
    filters: { type: ['container'] },
  })) as unknown as Readable;
  const events = reading(stream);
  const container = await up({ ...LONG, name: 'before', Labels: { test: 'life' } });
  await container.update({ Memory: 32 << 20, MemorySwap: 64 << 20, RestartPolicy: { Name: 'no' } });
  await container.rename({ name: 'after' });
  await container.pause();
  await assert.rejects(container.pause(), (error) => codeOf(error) === 409);
  const paused = await container.inspect();
  assert.deepEqual(
    [paused.Name, paused.HostConfig.Memory, paused.State.Status],
    ['/after', 32 << 20, 'paused'],
  );
  await container.unpause();
  await container.restart({ t: 0 });
  await assert.rejects(container.start(), (error) => codeOf(error) === 304);
  const next = container.wait({ condition: 'next-exit' });
  await container.kill({ signal: 'SIGKILL' });
  assert.deepEqual(await next, { StatusCode: 137 });
  await assert.rejects(container.stop(), (error) => codeOf(error) === 304);
  const filters = { label: ['test=life'], status: ['exited'] };
  const [listed] = await client.listContainers({ all: true, filters });
  assert.equal(listed?.Id, container.id);
  const removed = container.wait({ condition: 'removed' });
  const pruned = await client.pruneContainers({ filters: { label: ['test=life'] } });
  assert.deepEqual(pruned.ContainersDeleted, [container.id]);
  assert.deepEqual(await removed, { StatusCode: 137 });
  await assert.rejects(container.inspect(), (error) => codeOf(error) === 404);
  await eventually(() => events.text().includes('"prune"'));
  stream.destroy();
  const actions = events
    .text()
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { Action: string }).Action);
  assert.deepEqual(actions, [
    ...['create', 'start', 'update', 'rename', 'pause', 'unpause', 'kill', 'kill', 'die', 'stop'],
    ...['start', 'restart', 'kill', 'die', 'destroy', 'prune'],
  ]);
});

test('what a name is in its registry, disk usage, and what there is not', async () => {
  const { Descriptor } = await client.getImage(box.image).distribution();
  assert.match(Descriptor.digest, /^sha256:[0-9a-f]{64}$/);
  const usage = (await client.df()) as { Images: unknown[]; LayersSize: number };
  assert.ok(usage.Images.length > 0 && usage.LayersSize > 0);
  const container = await client.createContainer({ Image: box.image });
  const start = container.start({ checkpoint: 'one' } as object);
  await assert.rejects(start, (error) => codeOf(error) === 501);
  await container.remove();
});
