import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { containerConfig, type HostConfig, hostConfig } from '../spec/docker/container.ts';
import { checkHostConfig, type HostConfigFacts } from './host-config.ts';
import { updatedResources } from './resource-update.ts';
import { runtimeResources } from './resources.ts';

const abilities = {
  memory: true,
  swap: true,
  swappiness: true,
  reservation: true,
  oomKillDisable: true,
  pids: true,
  cpuShares: true,
  cpuQuota: true,
  cpuset: true,
  blkioWeight: true,
  blkioThrottle: true,
  kernelTcp: true,
  cpuRealtime: true,
};
const facts: HostConfigFacts = {
  abilities,
  cpus: 4,
  onlineCpus: '0-3',
  onlineMems: '0',
  runtimes: ['crun', 'runc'],
  usernsRemap: '',
  cgroupDriver: 'cgroupfs',
  isCgroupV2: false,
};
const make = (fields: Partial<HostConfig>): HostConfig => ({ ...hostConfig.zero(), ...fields });
const check = (fields: Partial<HostConfig>, more: Partial<HostConfigFacts> = {}) =>
  checkHostConfig(make(fields), containerConfig.zero(), { ...facts, ...more });

const MB = 1 << 20;

test('an empty HostConfig is fine and stays as it is', () => {
  assert.deepEqual(check({}), { hostConfig: make({}), warnings: [] });
});

describe('refusals, in words that clients know', () => {
  const cases: readonly (readonly [Partial<HostConfig>, RegExp])[] = [
    [{ Memory: 5 * MB }, /^Minimum memory limit allowed is 6MB$/],
    [{ Binds: ['/a\0:/b'] }, /^invalid HostConfig\.Binds: it has a NUL byte$/],
    [{ Tmpfs: { '/a\0': '' } }, /^invalid HostConfig\.Tmpfs: it has a NUL byte$/],
    [{ Sysctls: { 'net.a=b': '1' } }, /^invalid sysctl: net\.a=b=1$/],
    [{ Sysctls: { 'net.a': 'x'.repeat(5000) } }, /^invalid sysctl: net\.a=x{64}$/],
    [{ Memory: -1 }, /^Minimum memory limit allowed is 6MB$/],
    [{ Memory: 8 * MB, MemorySwap: 7 * MB }, /^Minimum memoryswap limit should be larger/],
    [{ MemorySwap: 8 * MB }, /^You should always set the Memory limit when using Memoryswap/],
    [
      { Memory: 8 * MB, MemoryReservation: 9 * MB },
      /^Minimum memory limit can not be less than memory/,
    ],
    [{ MemorySwappiness: 101 }, /valid memory swappiness range is 0-100$/],
    [{ NanoCpus: 5e9 }, /^range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available$/],
    [{ NanoCpus: 1e9, CpuPeriod: 1000 }, /^Conflicting options: Nano CPUs and CPU Period/],
    [{ NanoCpus: 1e9, CpuQuota: 1000 }, /^Conflicting options: Nano CPUs and CPU Quota/],
    [{ CpuPeriod: 999 }, /^CPU cfs period can not be less than 1ms/],
    [{ CpuQuota: 999 }, /^CPU cfs quota can not be less than 1ms/],
    [{ CpusetCpus: '0-9' }, /^Requested CPUs are not available - requested 0-9, available: 0-3$/],
    [{ CpusetCpus: 'x' }, /^Invalid value x for cpuset cpus$/],
    [{ CpusetCpus: '0-99999999999' }, /^Invalid value/],
    [{ CpuRealtimePeriod: 1000, CpuRealtimeRuntime: 1001 }, /^cpu real-time runtime cannot be/],
    [{ BlkioWeight: 9 }, /^Range of blkio weight is from 10 to 1000$/],
    [{ OomScoreAdj: 1001 }, /range for oom score adj is \[-1000, 1000\]$/],
    [{ PidMode: 'nope' }, /^invalid PID mode: nope$/],
    [{ IpcMode: 'container:' }, /^invalid IPC mode: container:$/],
    [{ NetworkMode: 'container:' }, /^invalid container format container:<name\|id>$/],
    [
      { NetworkMode: 'container:x', Dns: ['1.1.1.1'] },
      /^conflicting options: dns and the network mode$/,
    ],
    [{ ExtraHosts: ['x'] }, /^bad format for add-host: "x"$/],
    [{ ExtraHosts: ['x:y'] }, /^invalid IP address in add-host: "y"$/],
    [{ PortBindings: { '99999/tcp': null } }, /^invalid port specification: "99999\/tcp"$/],
    [{ Ulimits: [{ Name: 'nope', Soft: 1, Hard: 1 }] }, /^invalid ulimit type: nope$/],
    [{ Ulimits: [{ Name: 'nofile', Soft: 2, Hard: 1 }] }, /soft limit must be less than or equal/],
    [{ SecurityOpt: ['nope'] }, /^invalid --security-opt 1: "nope"$/],
    [{ SecurityOpt: ['nope=x'] }, /^invalid --security-opt 2: "nope=x"$/],
    [{ DeviceCgroupRules: ['x'] }, /^invalid device cgroup rule format: 'x'$/],
    [{ RestartPolicy: { Name: 'sometimes', MaximumRetryCount: 0 } }, /unknown policy 'sometimes'/],
    [
      { RestartPolicy: { Name: 'always', MaximumRetryCount: 1 } },
      /can only be used with 'on-failure'/,
    ],
    [{ Isolation: 'hyperv' }, /^invalid isolation 'hyperv' on linux$/],
  ];
  for (const [fields, words] of cases) {
    test(JSON.stringify(fields), () => {
      assert.throws(
        () => check(fields),
        (error: Error) => words.test(error.message) || assert.fail(error.message),
      );
    });
  }
});

test('hosts by name and address, either way of writing', () => {
  for (const text of ['a:1.2.3.4', 'a=::1', 'a:[::1]', 'a:host-gateway', 'a:2001:db8::1']) {
    check({ ExtraHosts: [text] });
  }
});

test('what the host cannot keep is dropped with a warning', () => {
  const none = Object.fromEntries(Object.keys(abilities).map((key) => [key, false]));
  const { hostConfig: kept, warnings } = check(
    {
      Memory: 8 * MB,
      PidsLimit: 5,
      CpuShares: 2,
      BlkioWeight: 100,
      CpusetCpus: '0',
      OomKillDisable: true,
      MemorySwappiness: 3,
    },
    { abilities: none as typeof abilities },
  );
  assert.deepEqual(
    [
      kept.Memory,
      kept.PidsLimit,
      kept.CpuShares,
      kept.BlkioWeight,
      kept.CpusetCpus,
      kept.OomKillDisable,
      kept.MemorySwappiness,
    ],
    [0, null, 0, 0, '', null, null],
  );
  assert.equal(warnings.length, 7);
  const swap = check({ Memory: 8 * MB }, { abilities: { ...abilities, swap: false } });
  assert.equal(swap.hostConfig.MemorySwap, -1);
  assert.match(swap.warnings[0] ?? '', /Memory limited without swap\.$/);
});

test('the runtime is told limits in its own terms', () => {
  const device = (): { major: number; minor: number } => ({ major: 8, minor: 0 });
  const told = runtimeResources(
    make({
      Memory: 8 * MB,
      NanoCpus: 15e8,
      PidsLimit: 7,
      BlkioDeviceReadBps: [{ Path: '/dev/sda', Rate: 5 }],
    }),
    device,
  );
  assert.deepEqual(told, {
    memory: { limit: 8 * MB, swap: 16 * MB },
    cpu: { period: 100_000, quota: 150_000 },
    blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 5 }] },
    pids: { limit: 7 },
  });
  assert.deepEqual(runtimeResources(make({ PidsLimit: -1, MemorySwappiness: -1 }), device), {});
  assert.deepEqual(runtimeResources(make({ MemorySwappiness: 0 }), device), {
    memory: { swappiness: 0 },
  });
});

test('an update lays its limits over those in force', () => {
  const before = make({ Memory: 8 * MB, MemorySwap: 16 * MB, CpuShares: 5 });
  const after = updatedResources(before, make({ Memory: 12 * MB, PidsLimit: 3 }));
  assert.deepEqual(
    [after.Memory, after.MemorySwap, after.CpuShares, after.PidsLimit],
    [12 * MB, 16 * MB, 5, 3],
  );
  assert.throws(
    () => updatedResources(before, make({ Memory: 32 * MB })),
    /already set memoryswap/,
  );
  assert.throws(
    () => updatedResources(make({ NanoCpus: 1e9 }), make({ CpuQuota: 5000 })),
    /CPU Quota cannot be updated as NanoCPUs has already been set/,
  );
});

test('cgroup v2 is told what it has, in the numbers that runtimes turn into its own', () => {
  const v2 = {
    ...abilities,
    ...{ swappiness: false, oomKillDisable: false, kernelTcp: false, cpuRealtime: false },
  };
  const { hostConfig: kept, warnings } = check(
    {
      ...{ Memory: 64 * MB, MemorySwap: 96 * MB, MemoryReservation: 32 * MB, MemorySwappiness: 7 },
      ...{ OomKillDisable: true, KernelMemoryTCP: MB, NanoCpus: 5e8, CpuShares: 512 },
      ...{ CpusetCpus: '0-1', PidsLimit: 9, BlkioWeight: 300 },
      BlkioDeviceReadBps: [{ Path: '/dev/x', Rate: 5 }],
    },
    { abilities: v2, isCgroupV2: true },
  );
  assert.deepEqual(
    warnings.map((each) => /swappiness|OomKillDisable|TCP/.exec(each)?.[0]),
    ['swappiness', 'OomKillDisable', 'TCP'],
  );
  assert.deepEqual(
    runtimeResources(kept, () => ({ major: 8, minor: 0 })),
    {
      // memory.max, memory.swap.max = swap - limit, memory.low
      memory: { limit: 64 * MB, swap: 96 * MB, reservation: 32 * MB },
      // cpu.weight, cpu.max, cpuset.cpus
      cpu: { shares: 512, period: 100_000, quota: 50_000, cpus: '0-1' },
      // io.bfq.weight or io.weight, io.max
      blockIO: { weight: 300, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 5 }] },
      pids: { limit: 9 },
    },
  );
  assert.throws(
    () => check({ CpuRealtimePeriod: 1000 }, { abilities: v2 }),
    /Your kernel does not support CPU real-time scheduler$/,
  );
});
