import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { Cgroups } from './cgroup.ts';
import { type CgroupUsage, readCgroupUsage } from './cgroup-stats.ts';

/** The files of a container's cgroup as kernels write them, of version 1 and of version 2. */

const V1 = {
  'cpuacct/c/cpuacct.usage': '5000000000\n',
  'cpuacct/c/cpuacct.usage_percpu': '3000000000 2000000000 \n',
  'cpuacct/c/cpuacct.stat': 'user 300\nsystem 200\n',
  'cpu/c/cpu.stat': 'nr_periods 10\nnr_throttled 4\nthrottled_time 123456\n',
  'memory/c/memory.usage_in_bytes': '104857600\n',
  'memory/c/memory.max_usage_in_bytes': '209715200\n',
  'memory/c/memory.failcnt': '7\n',
  'memory/c/memory.limit_in_bytes': '536870912\n',
  'memory/c/memory.stat': 'cache 4096\nrss 8192\ntotal_inactive_file 1024\n',
  'pids/c/pids.current': '3\n',
  'pids/c/pids.max': '100\n',
  'blkio/c/blkio.throttle.io_service_bytes_recursive':
    '8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\n8:0 Async 2\n8:0 Discard 0\n8:0 Total 12288\nTotal 12288\n',
  'blkio/c/blkio.throttle.io_serviced_recursive': '8:0 Read 1\n8:0 Write 2\nTotal 3\n',
};

const V2 = {
  'c/cpu.stat':
    'usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 123\n',
  'c/memory.current': '104857600\n',
  'c/memory.max': '536870912\n',
  'c/memory.events': 'low 0\nhigh 0\nmax 12\noom 7\noom_kill 2\n',
  'c/memory.stat': 'anon 8192\nfile 4096\ninactive_file 1024\n',
  'c/pids.current': '3\n',
  'c/pids.max': 'max\n',
  'c/io.stat':
    '8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n259:1 rbytes=1 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n',
};

function usageOf(version: 1 | 2, files: Readonly<Record<string, string>>): CgroupUsage {
  const root = mkdtempSync(path.join(tmpdir(), 'coracle-cgroup-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      const file = path.join(root, name);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, text);
    }
    const mountOf = (controller: string): string =>
      version === 2 ? root : path.join(root, controller);
    const cgroups: Cgroups = { version, hierarchies: [root], mountOf };
    return readCgroupUsage(cgroups, 'c');
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('cgroup v1: every counter that stats shows', () => {
  const { cpu, memory, pids, io } = usageOf(1, V1);
  assert.deepEqual(cpu, {
    ...{ totalNs: 5e9, systemNs: 2e9, userNs: 3e9, perCpuNs: [3e9, 2e9] },
    ...{ periods: 10, throttledPeriods: 4, throttledNs: 123_456 },
  });
  assert.deepEqual(memory, {
    ...{ usage: 100 << 20, maxUsage: 200 << 20, failures: 7, limit: 512 << 20 },
    stats: { cache: 4096, rss: 8192, total_inactive_file: 1024 },
  });
  assert.deepEqual(pids, { current: 3, limit: 100 });
  assert.deepEqual(
    io.bytes.map(({ operation, value }) => `${operation} ${value}`),
    ['read 4096', 'write 8192', 'sync 1', 'async 2', 'discard 0', 'total 12288'],
  );
  assert.deepEqual(io.operations[1], { major: 8, minor: 0, operation: 'write', value: 2 });
});

test('cgroup v2: the same, from other files', () => {
  const { cpu, memory, pids, io } = usageOf(2, V2);
  assert.deepEqual(cpu, {
    ...{ totalNs: 5e9, systemNs: 2e9, userNs: 3e9, perCpuNs: undefined },
    ...{ periods: 10, throttledPeriods: 4, throttledNs: 123_000 },
  });
  assert.deepEqual(memory, {
    ...{ usage: 100 << 20, maxUsage: undefined, failures: 7, limit: 512 << 20 },
    stats: { anon: 8192, file: 4096, inactive_file: 1024 },
  });
  assert.deepEqual(pids, { current: 3, limit: Number.POSITIVE_INFINITY });
  assert.deepEqual(
    io.bytes.map(({ major, operation, value }) => `${major} ${operation} ${value}`),
    ['8 read 4096', '8 write 8192', '259 read 1', '259 write 0'],
  );
  assert.deepEqual(
    io.operations.map(({ value }) => value),
    [1, 2, 1, 0],
  );
});

test('controllers that a host lacks, and limits that are none, are zeros and infinity', () => {
  const v1 = usageOf(1, { 'memory/c/memory.limit_in_bytes': '9223372036854771712\n' });
  assert.equal(v1.memory.limit, Number.POSITIVE_INFINITY);
  assert.deepEqual([v1.cpu.totalNs, v1.pids.current, v1.io.bytes], [0, 0, []]);
  const v2 = usageOf(2, { 'c/memory.max': 'max\n' });
  assert.equal(v2.memory.limit, Number.POSITIVE_INFINITY);
  assert.deepEqual([v2.cpu.totalNs, v2.memory.usage, v2.io.operations], [0, 0, []]);
});
