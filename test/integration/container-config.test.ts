import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';

/** What HostConfig asks for is what a process inside finds. */

let box: Box;
let folder: string;
before(async () => {
  box = await openBox();
  folder = mkdtempSync(path.join(os.tmpdir(), 'coracle-config-'));
});
after(async () => {
  await box[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const CAP_NET_ADMIN = 1n << 12n;
const CAP_CHOWN = 1n;

async function capabilities(HostConfig: object, more: object = {}): Promise<bigint> {
  const out = await box.sh('grep CapEff /proc/self/status', {
    HostConfig: { ...HostConfig },
    ...more,
  });
  return BigInt(`0x${out.trim().split(/\s+/)[1]}`);
}

for (const Runtime of ['crun', 'runc']) {
  describe(Runtime, () => {
    test('process, user, environment and files', async () => {
      const out = await box.sh('id; pwd; hostname; echo $HOME; cat /etc/hostname', {
        User: 'user',
        WorkingDir: '/made/here',
        Hostname: 'boat',
        HostConfig: { Runtime, GroupAdd: ['extra', '4242'] },
      });
      assert.equal(
        out,
        'uid=1000(user) gid=1000(user) groups=1000(user),2000(extra),4242\n/made/here\nboat\n/home/user\nboat\n',
      );
      assert.equal(
        await box.sh('ls -A /proc/1/root/.dockerenv', { HostConfig: { Runtime } }),
        '/proc/1/root/.dockerenv\n',
      );
    });

    test('capabilities are given and taken', async () => {
      const usual = await capabilities({ Runtime });
      assert.equal(usual, 0xa80425fbn);
      assert.equal(await capabilities({ Runtime, CapDrop: ['ALL'] }), 0n);
      assert.equal(await capabilities({ Runtime, CapDrop: ['ALL'], CapAdd: ['chown'] }), CAP_CHOWN);
      assert.equal(await capabilities({ Runtime, CapAdd: ['NET_ADMIN'] }), usual | CAP_NET_ADMIN);
      assert.equal(await capabilities({ Runtime }, { User: 'user' }), 0n);
      const status = readFileSync('/proc/self/status', 'utf8');
      const own = BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(status)?.[1]}`);
      assert.equal(await capabilities({ Runtime, Privileged: true }), own);
    });

    test('limits are in force', async () => {
      const HostConfig = { Runtime, Memory: 32 << 20, NanoCpus: 5e8, PidsLimit: 33 };
      const id = await box.up({ Cmd: ['sleep', '100'], HostConfig });
      const read = async (v1: string, v2: string): Promise<string> =>
        (
          await box.exec(
            id,
            'sh',
            '-c',
            `cat /sys/fs/cgroup/${v1} 2>/dev/null || cat /sys/fs/cgroup/${v2}`,
          )
        ).output.trim();
      assert.equal(await read('memory/memory.limit_in_bytes', 'memory.max'), String(32 << 20));
      assert.equal(await read('pids/pids.max', 'pids.max'), '33');
      assert.match(await read('cpu/cpu.cfs_quota_us', 'cpu.max'), /^50000/);
      const update = { Memory: 48 << 20, MemorySwap: 96 << 20 };
      await box.daemon.json('POST', `/containers/${id}/update`, update);
      assert.equal(await read('memory/memory.limit_in_bytes', 'memory.max'), String(48 << 20));
      await box.remove(id);
    });

    test('mounts: bind, read-only, tmpfs, shm, read-only root', async () => {
      writeFileSync(path.join(folder, 'file'), 'from the host\n');
      const Binds = [`${folder}:/data:ro`];
      const HostConfig = {
        Runtime,
        Binds,
        Tmpfs: { '/run': 'size=1m' },
        ReadonlyRootfs: true,
        ShmSize: 1 << 20,
      };
      const out = await box.sh(
        'cat /data/file; touch /data/x 2>&1; touch /x 2>&1; touch /run/x && echo ok; df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2',
        { HostConfig },
      );
      assert.match(
        out,
        /^from the host\n.*Read-only file system\n.*Read-only file system\nok\n1024\n$/,
      );
    });

    test("what is not the container's is out of sight", async () => {
      const command =
        'cat /proc/kcore 2>/dev/null | head -c 10 | wc -c; echo 1 > /proc/sys/vm/swappiness; ls /proc/acpi 2>/dev/null | wc -l';
      const { stderr, stdout } = await box.run({
        Cmd: ['sh', '-c', command],
        HostConfig: { Runtime },
      });
      assert.match(stderr, /Read-only file system/);
      assert.equal(stdout, '0\n0\n');
    });

    test('the filter of system calls stops what it should', async () => {
      const probe = async (HostConfig: object): Promise<number> =>
        (
          await box.run({
            Cmd: ['mount', '-t', 'tmpfs', 'x', '/tmp'],
            HostConfig: { Runtime, CapAdd: ['SYS_ADMIN'], ...HostConfig },
          })
        ).code;
      assert.equal(await probe({}), 0, 'with its capability mount is allowed');
      const Syscalls = [{ names: ['mount'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }];
      const profile = JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: Syscalls });
      assert.notEqual(await probe({ SecurityOpt: [`seccomp=${profile}`] }), 0);
      assert.equal(
        await box.sh('grep Seccomp: /proc/self/status', { HostConfig: { Runtime } }),
        'Seccomp:\t2\n',
      );
      const SecurityOpt = ['seccomp=unconfined', 'no-new-privileges'];
      assert.equal(
        await box.sh('grep -E "Seccomp:|NoNewPrivs" /proc/self/status', {
          HostConfig: { Runtime, SecurityOpt },
        }),
        'NoNewPrivs:\t1\nSeccomp:\t0\n',
      );
    });

    test('namespaces are shared on request', async () => {
      const id = await box.up({
        Cmd: ['sleep', '4321'],
        HostConfig: { Runtime, IpcMode: 'shareable' },
      });
      const joined = await box.sh(
        'ps | grep -c "[s]leep 4321"; readlink /proc/self/ns/ipc; touch /dev/shm/made',
        {
          HostConfig: {
            Runtime,
            PidMode: `container:${id}`,
            IpcMode: `container:${id}`,
            NetworkMode: `container:${id}`,
          },
        },
      );
      const ipc = (await box.exec(id, 'readlink', '/proc/self/ns/ipc')).output;
      assert.equal(joined, `1\n${ipc}`);
      assert.equal((await box.exec(id, 'ls', '/dev/shm')).output, 'made\n');
      await box.remove(id);
      const hosts = await box.sh('readlink /proc/self/ns/uts; readlink /proc/self/ns/pid', {
        HostConfig: { Runtime, UTSMode: 'host', PidMode: 'host' },
      });
      const own = await box.sh('readlink /proc/self/ns/uts; readlink /proc/self/ns/pid', {
        HostConfig: { Runtime },
      });
      assert.notEqual(hosts.split('\n')[0], own.split('\n')[0]);
      assert.notEqual(hosts.split('\n')[1], own.split('\n')[1]);
    });

    test('--init reaps what the container leaves', async () => {
      const id = await box.up({
        Cmd: ['sh', '-c', '(sleep 0.1 &) ; exec sleep 100'],
        HostConfig: { Runtime, Init: true },
      });
      assert.match((await box.exec(id, 'cat', '/proc/1/cmdline')).output, /docker-init/);
      // The one that was left behind is neither running nor a zombie.
      const sleepers = async (): Promise<string> =>
        (await box.exec(id, 'sh', '-c', 'ps -o comm | grep -c sleep')).output;
      await eventually(async () => (await sleepers()) === '1\n');
      await box.remove(id);
    });

    test('devices are given one by one, or all', async () => {
      const Devices = [
        { PathOnHost: '/dev/full', PathInContainer: '/dev/mine', CgroupPermissions: 'rw' },
      ];
      assert.match(
        await box.sh('ls -l /dev/mine', { HostConfig: { Runtime, Devices } }),
        /^crw.* 1, +7 .*mine\n$/,
      );
      const all = await box.sh('ls /dev', { HostConfig: { Runtime, Privileged: true } });
      assert.ok(all.includes('kmsg'));
      const missing = await box.create({
        HostConfig: {
          Runtime,
          Devices: [{ PathOnHost: '/dev/nope', PathInContainer: '/dev/x', CgroupPermissions: '' }],
        },
      });
      const answer = await box.daemon.api('POST', `/containers/${missing}/start`);
      assert.match(answer.text, /error gathering device information while adding custom device/);
      await box.remove(missing);
    });

    test('ulimits, sysctls, ContainerIDEnv and annotations', async () => {
      const HostConfig = {
        Runtime,
        Ulimits: [{ Name: 'nofile', Soft: 100, Hard: 200 }],
        Sysctls: { 'net.ipv4.ip_forward': '1' },
        ContainerIDEnv: 'MY_ID',
        Annotations: { 'org.example': 'x' },
        OomScoreAdj: 500,
      };
      const id = await box.up({
        Cmd: [
          'sh',
          '-c',
          'ulimit -Sn; ulimit -Hn; cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj; echo $MY_ID',
        ],
        HostConfig,
      });
      await box.wait(id);
      assert.equal(await box.logs(id), `100\n200\n1\n500\n${id}\n`);
      await box.remove(id);
      // A process beside it has the same limits.
      const host = await box.up({ Cmd: ['sleep', '100'], HostConfig });
      const { output } = await box.exec(host, 'sh', '-c', 'ulimit -Sn; ulimit -Hn');
      assert.equal(output, '100\n200\n');
      await box.remove(host);
    });
  });
}
