import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { run } from '../support/processes.ts';

/** The chapters of docker-py on containers, each call as its documentation shows it. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const PRELUDE = `
import docker, io, sys, tarfile, threading, time
from docker import errors
from docker.types import Healthcheck, LogConfig, Mount, Ulimit
client = docker.DockerClient(base_url='unix://' + sys.argv[1])
image = sys.argv[2]
def up(command='sleep 100', **more):
    return client.containers.run(image, command, detach=True, **more)
def soon(what):
    for _ in range(200):
        if what():
            return
        time.sleep(0.05)
    raise SystemExit('waited too long')
def refused(call, kind, words):
    try:
        call()
    except kind as error:
        assert words in str(error), error
        return
    raise SystemExit('not refused: ' + words)
`;

/** Runs a program; it says `ok` when nothing in it was wrong. */
async function python(program: string): Promise<void> {
  const words = ['-c', `${PRELUDE}${program}\nprint('ok')`, box.daemon.socket, box.image];
  const { stdout, stderr } = await run('/usr/bin/python3', words, { timeoutMs: 60_000 });
  assert.equal(stdout, 'ok\n', stderr);
}

test('run: every option that makes a container is in force', async () => {
  await python(`
box = up(
    ['sh', '-c', 'echo $A; cat /etc/hostname; sleep 100'], name='made', environment={'A': 'b'},
    hostname='host', user='0:7', working_dir='/var', labels={'l': 'v'}, mem_limit='64m',
    memswap_limit='128m', mem_reservation='32m', nano_cpus=500000000, cpu_shares=512, pids_limit=50,
    cap_add=['NET_ADMIN'], cap_drop=['MKNOD'], dns=['192.0.2.1'], extra_hosts={'other': '192.0.2.2'},
    ulimits=[Ulimit(name='nofile', soft=64, hard=128)], tmpfs={'/scratch': 'size=1m'},
    volumes={'data': {'bind': '/data', 'mode': 'rw'}}, read_only=True, stop_signal='SIGINT',
    mounts=[Mount('/more', 'more')], ports={'80/tcp': ('127.0.0.1', None)}, init=True,
    restart_policy={'Name': 'on-failure', 'MaximumRetryCount': 2}, shm_size='8m',
    sysctls={'net.ipv4.ip_forward': '1'}, security_opt=['no-new-privileges'],
    log_config=LogConfig(type='json-file', config={'max-size': '1m'}),
    healthcheck=Healthcheck(test=['CMD', 'true'], interval=100000000),
)
soon(lambda: box.logs() == b'b\\nhost\\n')
def sh(script):
    code, out = box.exec_run(['sh', '-c', script])
    assert code == 0, (script, out)
    return out.decode().strip()
assert sh('id -g; pwd') == '7\\n/var'
shown = sh('ulimit -n; grep /scratch /proc/mounts | cut -d" " -f3; touch /data/x /more/y')
assert shown == '64\\ntmpfs', shown
assert '192.0.2.2' in sh('grep other /etc/hosts')
assert '192.0.2.1' in sh('cat /etc/resolv.conf') or '127.0.0.11' in sh('cat /etc/resolv.conf')
assert sh('cat /proc/sys/net/ipv4/ip_forward') == '1'
assert 'NoNewPrivs:\\t1' in sh('cat /proc/self/status')
assert box.exec_run('touch /x')[0] != 0
soon(lambda: (box.reload(), box.attrs['State']['Health']['Status'] == 'healthy')[1])
host = box.attrs['HostConfig']
assert (host['Memory'], host['NanoCpus'], host['PidsLimit']) == (64 << 20, 500000000, 50)
assert box.ports['80/tcp'][0]['HostIp'] == '127.0.0.1', box.ports
assert (box.short_id, box.labels, box.name) == (box.id[:len(box.short_id)], {'l': 'v'}, 'made')
box.remove(force=True, v=True)
client.volumes.get('data').remove()
client.volumes.get('more').remove()
`);
});

test('attach, exec by stream and by socket, with a terminal and without', async () => {
  await python(`
api = client.api
box = client.containers.create(image, 'cat', stdin_open=True)
sock = box.attach_socket(params={'stdin': 1, 'stdout': 1, 'stream': 1})
box.start()
sock._sock.sendall(b'typed\\n')
assert sock.read(8 + 6).endswith(b'typed\\n')
sock.close()
box.remove(force=True)
said = 'for i in 1 2 3; do echo out $i; echo err $i >&2; done'
box = client.containers.create(image, ['sh', '-c', said])
streaming = box.attach(stdout=True, stderr=True, stream=True, demux=True)
box.start()
pieces = list(streaming)
assert b''.join(out for out, _ in pieces if out) == b'out 1\\nout 2\\nout 3\\n', pieces
assert b''.join(err for _, err in pieces if err) == b'err 1\\nerr 2\\nerr 3\\n', pieces
assert box.attach(logs=True, stderr=False) == b'out 1\\nout 2\\nout 3\\n'
box.remove()
box = up()
code, (out, err) = box.exec_run(['sh', '-c', 'echo o; echo e >&2'], demux=True)
assert (code, out, err) == (0, b'o\\n', b'e\\n')
code, stream = box.exec_run(['sh', '-c', 'echo 1; sleep 0.2; echo 2'], stream=True)
assert b''.join(stream) == b'1\\n2\\n'
made = api.exec_create(box.id, ['sh', '-c', 'read x; stty size; exit 6'], stdin=True, tty=True)
sock = api.exec_start(made['Id'], socket=True, tty=True)
api.exec_resize(made['Id'], height=21, width=43)
sock._sock.sendall(b'\\r')
seen = b''
while b'21 43' not in seen:
    seen += sock.read(1)
soon(lambda: api.exec_inspect(made['Id'])['ExitCode'] == 6)
assert box.exec_run('true', detach=True).output in (b'', '')
assert box.exec_run(['sh', '-c', 'echo $A; pwd; id -u'], environment={'A': 'b'}, workdir='/var',
                    user='5').output == b'b\\n/var\\n5\\n'
assert box.exec_run('no-such-command')[0] == 126 or box.exec_run('no-such-command')[0] == 127
box.remove(force=True)
`);
});

test('logs, stats, top, resize, and waiting', async () => {
  await python(`
box = up(['sh', '-c', 'for i in 1 2 3 4; do echo line $i; done; sleep 0.5; echo last; sleep 0.2'])
soon(lambda: b'line 4' in box.logs())
assert box.logs(tail=2) == b'line 3\\nline 4\\n'
assert box.logs(timestamps=True, tail=1).endswith(b'Z line 4\\n')
assert box.logs(since=int(time.time()) + 100) == b''
assert b''.join(box.logs(stream=True, follow=True)).endswith(b'line 4\\nlast\\n')
assert box.wait() == {'StatusCode': 0} or box.wait()['StatusCode'] == 0
box.remove()
box = up(tty=True, stdin_open=True)
box.resize(20, 30)
refused(lambda: box.resize(-1, 30), errors.APIError, 'size of a terminal')
assert box.stats(stream=False)['pids_stats']['current'] == 1
samples = box.stats(decode=True)
first, second = next(samples), next(samples)
assert second['precpu_stats']['cpu_usage'] == first['cpu_stats']['cpu_usage']
assert second['memory_stats']['limit'] > 0 and 'eth0' in second['networks']
assert 'sleep 100' in box.top()['Processes'][0][-1]
assert box.top(ps_args='-o pid')['Titles'] == ['PID']
exits = {}
def wait(condition):
    exits[condition] = box.wait(condition=condition, timeout=30)['StatusCode']
threads = [threading.Thread(target=wait, args=(c,)) for c in ('not-running', 'next-exit', 'removed')]
for thread in threads:
    thread.start()
time.sleep(0.3)
box.kill('SIGKILL')
soon(lambda: len(exits) == 2)
box.remove()
for thread in threads:
    thread.join()
assert exits == {'not-running': 137, 'next-exit': 137, 'removed': 137}, exits
`);
});

test('update, rename, pause, restart, list, prune, events, errors of the right class', async () => {
  await python(`
told = client.events(decode=True, filters={'type': 'container', 'label': 'mine'})
box = up(name='before', labels={'mine': 'yes'})
box.update(mem_limit='48m', memswap_limit='96m', cpu_shares=300, cpuset_cpus='0',
           restart_policy={'Name': 'unless-stopped'})
box.rename('after')
box.pause()
refused(box.pause, errors.APIError, 'is already paused')
refused(lambda: box.exec_run('true'), errors.APIError, 'unpause the container before exec')
box.unpause()
box.restart(timeout=0)
box.reload()
assert (box.name, box.attrs['HostConfig']['Memory'], box.status) == ('after', 48 << 20, 'running')
assert client.containers.list(filters={'label': 'mine', 'name': 'aft'}) == [box]
assert client.containers.list(filters={'status': 'exited', 'label': 'mine'}) == []
refused(box.remove, errors.APIError, 'container is running')
box.stop(timeout=0)
assert client.containers.list(filters={'label': 'mine'}) == []
assert client.containers.list(all=True, filters={'label': 'mine'}, limit=1, sparse=True)[0].id == box.id
other = client.containers.create(image, name='other')
refused(lambda: client.containers.create(image, name='other'), errors.APIError, 'is already in use')
refused(lambda: client.containers.create('no/such:image'), errors.ImageNotFound, 'No such image')
refused(lambda: up('no-such-command', name='never'), errors.APIError, 'executable file not found')
client.containers.get('never').remove()
refused(lambda: client.containers.get('nobody'), errors.NotFound, 'No such container: nobody')
refused(lambda: box.update(mem_limit=1000), errors.APIError, 'Minimum memory limit allowed is 6MB')
assert client.containers.prune(filters={'label': 'mine'})['ContainersDeleted'] == [box.id]
other.remove(v=True)
actions = []
for event in told:
    actions.append(event['Action'])
    if event['Action'] == 'destroy':
        break
told.close()
assert [a for a in actions if a != 'kill'] == ['create', 'start', 'update', 'rename', 'pause',
    'unpause', 'die', 'stop', 'start', 'restart', 'die', 'stop', 'destroy'], actions
usage = client.df()
assert usage['Containers'] == [] and usage['LayersSize'] > 0, usage
data = client.images.get_registry_data(image)
assert data.id.startswith('sha256:') and data.has_platform('linux'), data.attrs
`);
});

test('files, changes, export, commit', async () => {
  await python(`
box = client.containers.create(image, ['sh', '-c', 'rm /etc/motd; mkdir /made; sleep 100'])
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode='w') as tar:
    for name, size in (('dir/a', 5), ('dir/b', 70000)):
        entry = tarfile.TarInfo(name)
        entry.size = size
        tar.addfile(entry, io.BytesIO(b'x' * size))
assert box.put_archive('/var', packed.getvalue())
box.start()
chunks, stat = box.get_archive('/var/dir', chunk_size=4096, encode_stream=True)
assert stat['name'] == 'dir', stat
with tarfile.open(fileobj=io.BytesIO(b''.join(chunks))) as tar:
    assert sorted(tar.getnames()) == ['dir', 'dir/a', 'dir/b'], tar.getnames()
    assert len(tar.extractfile('dir/b').read()) == 70000
refused(lambda: box.put_archive('/none', packed.getvalue()), errors.NotFound, 'Could not find')
soon(lambda: {'Path': '/made', 'Kind': 1} in box.diff())
assert {'Path': '/etc/motd', 'Kind': 2} in box.diff()
with tarfile.open(fileobj=io.BytesIO(b''.join(box.export()))) as tar:
    assert 'var/dir/b' in tar.getnames()
made = box.commit('made', 'v2', message='why', author='me',
                  changes=['ENV A=b', 'CMD ["sh", "-c", "echo $A; wc -c </var/dir/b"]'], conf={'Labels': {'l': 'v'}})
assert made.labels == {'l': 'v'} and made.attrs['Comment'] == 'why', made.attrs
assert client.containers.run(made, remove=True) == b'b\\n70000\\n'
refused(lambda: box.commit('made', changes=['RUN true']), errors.APIError, 'RUN is not a valid change command')
box.remove(force=True)
client.images.remove('made:v2')
`);
});
