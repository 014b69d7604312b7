import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { clientCommand } from '../support/daemon.ts';
import { run } from '../support/processes.ts';

/**
 * The fields of HostConfig that container-config.test.ts leaves open, each seen by a process inside.
 * What this host's cgroups cannot keep has to be a warning.
 */

let box: Box;
let folder: string;
before(async () => {
  box = await openBox();
  folder = mkdtempSync(path.join(os.tmpdir(), 'coracle-host-config-'));
});
after(async () => {
  await box[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** A disk of our own: some machines let nobody open theirs. */
function disk(): { path: string; numbers: string } {
  const image = path.join(mkdtempSync(path.join(os.tmpdir(), 'coracle-disk-')), 'image');
  writeFileSync(image, Buffer.alloc(1 << 20, 'x'));
  const device = execFileSync('losetup', ['--find', '--show', image]).toString().trim();
  after(() => {
    execFileSync('losetup', ['--detach', device]);
    rmSync(path.dirname(image), { recursive: true });
  });
  const numbers = readFileSync(`/sys/block/${path.basename(device)}/dev`, 'utf8').trim();
  return { path: device, numbers };
}

const isV1 = existsSync('/sys/fs/cgroup/memory');

/** A limit: the field, the files that show it (cgroup v1, v2), what they say, and the warning. */
type Limit = {
  readonly field: Readonly<Record<string, unknown>>;
  readonly v1: string;
  readonly v2: string;
  readonly says: RegExp;
  readonly warning: RegExp;
};
const GiB = 2 ** 30;
const { path: diskPath, numbers } = disk();
const LIMITS: readonly Limit[] = [
  {
    field: { Memory: GiB },
    ...{ v1: 'memory/memory.limit_in_bytes', v2: 'memory.max', says: /^1073741824$/ },
    warning: /memory limit capabilities/,
  },
  {
    field: { MemoryReservation: GiB / 2 },
    ...{ v1: 'memory/memory.soft_limit_in_bytes', v2: 'memory.low', says: /^536870912$/ },
    warning: /memory soft limit/,
  },
  {
    field: { MemorySwap: 1.5 * GiB },
    v1: 'memory/memory.memsw.limit_in_bytes',
    ...{ v2: 'memory.swap.max', says: isV1 ? /^1610612736$/ : /^536870912$/ },
    warning: /swap limit capabilities/,
  },
  {
    field: { MemorySwappiness: 7 },
    ...{ v1: 'memory/memory.swappiness', v2: '', says: /^7$/ },
    warning: /memory swappiness/,
  },
  {
    field: { OomKillDisable: true },
    ...{ v1: 'memory/memory.oom_control', v2: '', says: /oom_kill_disable 1/ },
    warning: /OomKillDisable/,
  },
  {
    field: { CpuShares: 512 },
    ...{ v1: 'cpu/cpu.shares', v2: 'cpu.weight', says: isV1 ? /^512$/ : /^(?:20|59)$/ },
    warning: /CPU shares/,
  },
  {
    field: { CpuPeriod: 50_000, CpuQuota: 25_000 },
    ...{ v1: 'cpu/cpu.cfs_quota_us', v2: 'cpu.max', says: /^25000(?: 50000)?$/ },
    warning: /CFS/,
  },
  {
    field: { CpusetCpus: '0', CpusetMems: '0' },
    ...{ v1: 'cpuset/cpuset.cpus', v2: 'cpuset.cpus', says: /^0$/ },
    warning: /cpuset/,
  },
  {
    field: { PidsLimit: 77 },
    ...{ v1: 'pids/pids.max', v2: 'pids.max', says: /^77$/ },
    warning: /PIDs limit/,
  },
  {
    field: { BlkioWeight: 300 },
    v1: existsSync('/sys/fs/cgroup/blkio/blkio.bfq.weight')
      ? 'blkio/blkio.bfq.weight'
      : 'blkio/blkio.weight',
    ...{ v2: 'io.weight', says: /300|default/ },
    warning: /Block I\/O weight/,
  },
  {
    field: { BlkioDeviceReadBps: [{ Path: diskPath, Rate: 12_345_678 }] },
    v1: 'blkio/blkio.throttle.read_bps_device',
    ...{ v2: 'io.max', says: new RegExp(`${numbers}.*12345678`) },
    warning: /BPS Block I\/O read/,
  },
  {
    field: { BlkioDeviceWriteBps: [{ Path: diskPath, Rate: 22_345_678 }] },
    v1: 'blkio/blkio.throttle.write_bps_device',
    ...{ v2: 'io.max', says: new RegExp(`${numbers}.*22345678`) },
    warning: /BPS Block I\/O write/,
  },
  {
    field: { BlkioDeviceReadIOps: [{ Path: diskPath, Rate: 321 }] },
    v1: 'blkio/blkio.throttle.read_iops_device',
    ...{ v2: 'io.max', says: new RegExp(`${numbers}.*321`) },
    warning: /IOPS Block read/,
  },
  {
    field: { BlkioDeviceWriteIOps: [{ Path: diskPath, Rate: 654 }] },
    v1: 'blkio/blkio.throttle.write_iops_device',
    ...{ v2: 'io.max', says: new RegExp(`${numbers}.*654`) },
    warning: /IOPS Block write/,
  },
];

for (const Runtime of ['crun', 'runc']) {
  test(`${Runtime}: every limit is in force, or its warning says that this host cannot`, async () => {
    const HostConfig = Object.assign({ Runtime }, ...LIMITS.map(({ field }) => field)) as object;
    const made = await box.tryCreate({ Cmd: ['sleep', '100'], HostConfig: { ...HostConfig } });
    assert.equal(made.status, 201, made.text);
    const { Id, Warnings } = made.json() as { Id: string; Warnings: string[] };
    await box.start(Id);
    let kept = 0;
    for (const { field, v1, v2, says, warning } of LIMITS) {
      const file = isV1 ? v1 : v2;
      const { code, output } = await box.exec(Id, 'cat', `/sys/fs/cgroup/${file}`);
      if (Warnings.some((each) => warning.test(each))) {
        assert.notEqual(code, 0, `${JSON.stringify(field)}: this host could keep it`);
      } else {
        assert.match(output.trim(), says, JSON.stringify(field));
        kept += 1;
      }
    }
    assert.ok(kept >= 8, Warnings.join('\n'));
    await box.remove(Id);
  });
}

describe('devices', () => {
  const [major, minor] = numbers.split(':');
  const read = `mknod /tmp/disk b ${major} ${minor}; head -c 1 /tmp/disk | wc -c`;

  test('a device cgroup rule opens a kind of device, and nothing else', async () => {
    const denied = await box.run({ Cmd: ['sh', '-c', read] });
    assert.match(denied.stderr, /Operation not permitted/);
    const DeviceCgroupRules = [`b ${major}:* r`];
    assert.equal(await box.sh(read, { HostConfig: { DeviceCgroupRules } }), '1\n');
  });

  test('a device has the access it is given', async () => {
    const Devices = [
      { PathOnHost: diskPath, PathInContainer: '/dev/disk', CgroupPermissions: 'w' },
    ];
    const ran = await box.run({ Cmd: ['head', '-c', '1', '/dev/disk'], HostConfig: { Devices } });
    assert.match(ran.stderr, /Operation not permitted/);
  });

  test('graphics cards are refused in one sentence', async () => {
    const DeviceRequests = [{ Count: -1, Capabilities: [['gpu']] }];
    const answer = await box.tryCreate({ HostConfig: { DeviceRequests } });
    assert.equal(answer.status, 400);
    assert.match(answer.text, /could not select device driver .* capabilities: \[\[gpu\]\]/);
  });
});

describe('security', () => {
  test('masked and read-only paths are the ones that are asked for', async () => {
    const HostConfig = { MaskedPaths: ['/proc/version'], ReadonlyPaths: ['/proc/sys/kernel'] };
    const command =
      'cat /proc/version | wc -c; (echo x >/proc/sys/kernel/domainname) 2>&1; grep -c " /proc/" /proc/mounts';
    const out = await box.sh(command, { HostConfig });
    assert.match(out, /^0\n.*Read-only file system\n2\n$/);
  });

  test('systempaths=unconfined leaves /proc as it is, by flag and by option', async () => {
    const command = 'grep -c " /proc/" /proc/mounts; true';
    assert.notEqual(await box.sh(command), '0\n');
    const HostConfig = { SecurityOpt: ['systempaths=unconfined'] };
    assert.equal(await box.sh(command, { HostConfig }), '0\n');
    const flags = ['--rm', '--network', 'none', '--security-opt', 'systempaths=unconfined'];
    const ran = await coracle('run', ...flags, box.image, 'sh', '-c', command);
    assert.equal(ran.stdout, '0\n', ran.stderr);
  });

  test('a seccomp profile comes from a file', async () => {
    const profile = path.join(folder, 'no-chmod.json');
    const syscalls = [{ names: ['chmod', 'fchmodat', 'fchmodat2'], action: 'SCMP_ACT_ERRNO' }];
    writeFileSync(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }));
    const flags = ['--rm', '--network', 'none', '--security-opt', `seccomp=${profile}`];
    const ran = await coracle('run', ...flags, box.image, 'chmod', '700', '/tmp');
    assert.match(ran.stderr, /Operation not permitted/);
  });

  test('labels and profiles of modules that the host lacks are taken and have no effect', async () => {
    const SecurityOpt = ['label=type:my_t', 'label=level:s0', 'apparmor=unconfined'];
    assert.equal(await box.sh('echo fine', { HostConfig: { SecurityOpt } }), 'fine\n');
    const wrong = await box.tryCreate({ HostConfig: { SecurityOpt: ['selinux=x'] } });
    assert.match(wrong.text, /invalid --security-opt 2/);
  });

  test('privileged gives every capability that the engine has', async () => {
    const own = /^CapEff:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    const out = await box.sh('grep CapEff /proc/self/status', { HostConfig: { Privileged: true } });
    assert.equal(out.trim().split(/\s+/)[1], own);
  });

  test('an OOM score below the engine’s own is as low as the engine may set it', async () => {
    const out = await box.sh('cat /proc/self/oom_score_adj', { HostConfig: { OomScoreAdj: -900 } });
    assert.ok(Number(out) <= Number(readFileSync('/proc/self/oom_score_adj', 'utf8')), out);
  });
});

describe('namespaces', () => {
  const cgroupNs = 'readlink /proc/self/ns/cgroup';
  test('the cgroup namespace is private or the host’s, the user namespace the host’s', async () => {
    const hosts = readlinkSync('/proc/self/ns/cgroup');
    const host = await box.sh(cgroupNs, { HostConfig: { CgroupnsMode: 'host' } });
    assert.equal(host.trim(), hosts);
    const own = await box.sh(cgroupNs, { HostConfig: { CgroupnsMode: 'private' } });
    assert.notEqual(own, host);
    const user = await box.sh('readlink /proc/self/ns/user', {
      HostConfig: { UsernsMode: 'host' },
    });
    assert.equal(user.trim(), readlinkSync('/proc/self/ns/user'));
  });

  test('a private ipc namespace cannot be joined, none has no /dev/shm', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'], HostConfig: { IpcMode: 'private' } });
    const joiner = await box.tryCreate({ HostConfig: { IpcMode: `container:${id}` } });
    const text =
      joiner.status === 201
        ? (
            await box.daemon.api(
              'POST',
              `/containers/${(joiner.json() as { Id: string }).Id}/start`,
            )
          ).text
        : joiner.text;
    assert.match(text, /non-shareable IPC/);
    await box.remove(id);
    const none = await box.sh('ls -d /dev/shm; true', { HostConfig: { IpcMode: 'none' } });
    assert.equal(none, '');
  });
});

describe('names and files', () => {
  test('resolvers, hosts and links are in their files', async () => {
    const other = await box.up(
      { Cmd: ['sleep', '100'], HostConfig: { NetworkMode: 'bridge' } },
      'linked',
    );
    const address = (await box.inspect(other)).NetworkSettings.Networks['bridge']?.IPAddress;
    const HostConfig = {
      NetworkMode: 'bridge',
      Dns: ['192.0.2.53'],
      DnsSearch: ['example.org'],
      DnsOptions: ['ndots:3'],
      ExtraHosts: ['gate:host-gateway', 'far:192.0.2.9'],
      Links: ['linked:near'],
    };
    const out = await box.sh('cat /etc/resolv.conf /etc/hosts', { HostConfig });
    assert.match(out, /^nameserver 192\.0\.2\.53$/m);
    assert.match(out, /^search example\.org$/m);
    assert.match(out, /^options ndots:3$/m);
    assert.match(out, /^10\.\d+\.\d+\.1\tgate$/m);
    assert.match(out, /^192\.0\.2\.9\tfar$/m);
    assert.match(out, new RegExp(`^${address?.replaceAll('.', '\\.')}\\tnear .*linked$`, 'm'));
    await box.remove(other);
  });

  test('volumes come from another container, read-only on request', async () => {
    const first = await box.create({ Cmd: ['true'], Volumes: { '/data': {} } });
    const write = { HostConfig: { VolumesFrom: [first] } };
    await box.sh('echo shared >/data/file', write);
    const ran = await box.run({
      Cmd: ['sh', '-c', 'cat /data/file; touch /data/x'],
      HostConfig: { VolumesFrom: [`${first}:ro`] },
    });
    assert.equal(ran.stdout, 'shared\n');
    assert.match(ran.stderr, /Read-only file system/);
    await box.remove(first);
  });

  test('annotations reach the runtime', async () => {
    const HostConfig = { Annotations: { 'org.example.note': 'seen' } };
    const id = await box.up({ Cmd: ['sleep', '100'], HostConfig });
    const file = path.join(box.daemon.execRoot, 'containers', id, 'bundle/config.json');
    const spec = JSON.parse(readFileSync(file, 'utf8')) as { annotations: Record<string, string> };
    assert.equal(spec.annotations['org.example.note'], 'seen');
    await box.remove(id);
  });

  test('--cidenv names the variable with the ID, which may not be set already', async () => {
    const flags = ['--network', 'none', '--name', 'named', '--cidenv', 'MY_ID'];
    const ran = await coracle('run', ...flags, box.image, 'sh', '-c', 'echo $MY_ID');
    assert.equal(ran.stdout.trim(), (await box.inspect('named')).Id);
    await box.remove('named');
    const both = ['--cidenv', 'MY_ID', '-e', 'MY_ID=x'];
    const refused = await coracle('create', ...both, box.image);
    assert.match(refused.stderr, /already set/);
    assert.notEqual(refused.code, 0);
  });
});

describe('the end', () => {
  test('is asked for with the stop signal', async () => {
    const script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    const id = await box.up({ Cmd: ['sh', '-c', script], StopSignal: 'SIGUSR1' });
    await box.daemon.json('POST', `/containers/${id}/stop`);
    assert.equal((await box.inspect(id)).State.ExitCode, 7);
    await box.remove(id);
  });

  test('is forced after the stop timeout', async () => {
    const script = "trap '' TERM; while :; do sleep 0.05; done";
    const id = await box.up({ Cmd: ['sh', '-c', script], StopTimeout: 1 });
    const began = performance.now();
    await box.daemon.json('POST', `/containers/${id}/stop`);
    const took = performance.now() - began;
    assert.equal((await box.inspect(id)).State.ExitCode, 137);
    assert.ok(took > 900 && took < 8000, `${took} ms`);
    await box.remove(id);
  });
});

async function coracle(...args: string[]): ReturnType<typeof run> {
  return await run(clientCommand(), ['-H', box.daemon.host, ...args]);
}
