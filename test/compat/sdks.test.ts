import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import Docker from 'dockerode';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { busyboxImage, pushImage } from '../support/images.ts';
import { run } from '../support/processes.ts';
import { type Registry, startRegistry } from '../support/registry.ts';

/** What programs do by the libraries they use: dockerode, and docker-py where it is installed. */
let daemon: TestDaemon;
let registry: Registry;
let image: string;

before(async () => {
  registry = await startRegistry();
  await pushImage(registry, 'compat/sdk', 'v1', await busyboxImage());
  image = `${registry.host}/compat/sdk:v1`;
  daemon = await startDaemon();
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  await registry.stop();
});

async function collected(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString();
}

test('dockerode: pull with progress, run with output apart, exec, inspect, events', async () => {
  const client = new Docker({ socketPath: daemon.socket });
  const pulling = await client.pull(image);
  const lines = await new Promise<{ status?: string }[]>((resolve, reject) => {
    client.modem.followProgress(pulling, (error: Error | null, output: { status?: string }[]) =>
      error === null ? resolve(output) : reject(error),
    );
  });
  assert.ok(lines.some(({ status }) => status?.startsWith('Status: Downloaded newer image')));

  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const both = Promise.all([collected(stdout), collected(stderr)]);
  const [result] = (await client.run(
    image,
    ['sh', '-c', 'echo out; echo err >&2; exit 4'],
    [stdout, stderr],
    {
      Tty: false,
    },
  )) as [{ StatusCode: number }];
  stdout.end();
  stderr.end();
  assert.deepEqual([result.StatusCode, ...(await both)], [4, 'out\n', 'err\n']);

  const container = await client.createContainer({
    Image: image,
    Cmd: ['sleep', '60'],
    name: 'node',
  });
  await container.start();
  const exec = await container.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
  const stream = await exec.start({ hijack: true, stdin: true });
  const out = new PassThrough();
  client.modem.demuxStream(stream, out, out);
  stream.end('through and back');
  stream.on('end', () => out.end());
  assert.equal(await collected(out), 'through and back');
  assert.equal((await exec.inspect()).ExitCode, 0);
  const info = await container.inspect();
  assert.equal(info.State.Running, true);
  assert.equal(info.Config.Image, image);
  await container.remove({ force: true });
});

const PYTHON = `
import docker, sys
client = docker.DockerClient(base_url='unix://' + sys.argv[1])
image = sys.argv[2]
assert client.ping()
client.images.pull(image)
assert client.containers.run(image, ['echo', 'hello'], remove=True) == b'hello\\n'
try:
    client.containers.run(image, ['sh', '-c', 'echo bad >&2; exit 3'], remove=True)
    raise SystemExit('no error')
except docker.errors.ContainerError as error:
    assert error.exit_status == 3, error
    assert b'bad' in error.stderr, error
box = client.containers.run(image, ['sh', '-c', 'echo started; sleep 60'], detach=True, name='py')
code, output = box.exec_run(['sh', '-c', 'echo in exec; exit 2'])
assert (code, output) == (2, b'in exec\\n'), (code, output)
box.reload()
assert box.status == 'running', box.status
assert box.logs() == b'started\\n', box.logs()
assert box.image.tags == [image], box.image.tags
assert [c.name for c in client.containers.list(filters={'status': 'running'})] == ['py']
box.stop(timeout=1)
assert box.wait()['StatusCode'] == 137
box.remove()
try:
    client.containers.get('py')
    raise SystemExit('still there')
except docker.errors.NotFound:
    pass
try:
    client.images.get('no/such:image')
    raise SystemExit('found')
except docker.errors.ImageNotFound:
    pass
import io, tarfile
box = client.containers.create(image, ['sh', '-c', 'cat /in; rm /etc/motd; sleep 60'], name='files')
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode='w') as tar:
    entry = tarfile.TarInfo('in')
    entry.size = 6
    tar.addfile(entry, io.BytesIO(b'sent\\n\\n'))
assert box.put_archive('/', packed.getvalue())
box.start()
while b'sent' not in box.logs():
    pass
chunks, stat = box.get_archive('/in')
assert (stat['name'], stat['size']) == ('in', 6), stat
with tarfile.open(fileobj=io.BytesIO(b''.join(chunks))) as tar:
    assert tar.extractfile('in').read() == b'sent\\n\\n'
try:
    box.get_archive('/nope')
    raise SystemExit('found')
except docker.errors.NotFound as error:
    assert 'Could not find the file /nope in container' in str(error), error
while {'Path': '/etc/motd', 'Kind': 2} not in box.diff():
    pass
assert {'Path': '/in', 'Kind': 1} in box.diff(), box.diff()
with tarfile.open(fileobj=io.BytesIO(b''.join(box.export()))) as tar:
    assert 'in' in tar.getnames() and 'etc/motd' not in tar.getnames()
kept = box.commit('py/kept', tag='v1', author='me', message='why', changes='CMD ["cat", "/in"]')
assert kept.tags == ['py/kept:v1'], kept.tags
assert client.containers.run('py/kept:v1', remove=True) == b'sent\\n\\n'
box.pause()
box.reload()
assert box.status == 'paused', box.status
box.unpause()
box.rename('renamed')
box.update(mem_limit='64m', memswap_limit='64m')
box.reload()
assert (box.name, box.attrs['HostConfig']['Memory']) == ('renamed', 64 << 20), box.attrs
assert any('sleep 60' in ' '.join(each) for each in box.top()['Processes']), box.top()
assert box.stats(stream=False)['memory_stats']['usage'] > 0
box.kill()
assert box.wait(condition='not-running')['StatusCode'] == 137
pruned = client.containers.prune(filters={'until': '1h'})
assert not pruned['ContainersDeleted'], pruned
assert box.id in client.containers.prune()['ContainersDeleted']
volume = client.volumes.create('pyvol', labels={'a': 'b'})
assert client.volumes.list(filters={'label': 'a=b'}) == [volume]
volume.remove()
print('ok')
`;

test('docker-py: images, containers, errors of the right class, volumes', async (t) => {
  const { code } = await run('python3', ['-c', 'import docker']);
  const python = code === 0 ? 'python3' : '/usr/bin/python3';
  if ((await run(python, ['-c', 'import docker'])).code !== 0) {
    return t.skip('docker-py is not installed (Debian: python3-docker)');
  }
  const outcome = await run(python, ['-c', PYTHON, daemon.socket, image], { timeoutMs: 60_000 });
  assert.equal(outcome.stdout, 'ok\n', outcome.stderr);
});
