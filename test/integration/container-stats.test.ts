import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ContainerStats } from '../../src/spec/docker/stats.ts';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';

/** What `stats` tells of a container's use, held against what the container is made to do. */

const MiB = 1 << 20;
let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

/** Two samples a second apart, as one look without a stream gives them. */
async function statsOf(id: string): Promise<ContainerStats> {
  const path = `/containers/${id}/stats?stream=false`;
  return (await box.daemon.json('GET', path)) as ContainerStats;
}

for (const Runtime of ['crun', 'runc']) {
  test(`${Runtime}: memory, processes, CPU time and writes are the container's own`, async () => {
    // 24 MB that stay, a process that spins, and 4 MB that reach the disk.
    const script = [
      'dd if=/dev/zero of=/written bs=1M count=4 conv=fsync 2>/dev/null',
      '(while :; do :; done) &',
      'head -c 24m /dev/zero >/dev/shm/kept; echo ready; wait',
    ].join('\n');
    const HostConfig = { Runtime, Memory: 128 * MiB, PidsLimit: 50 };
    const id = await box.up({ Cmd: ['sh', '-c', script], HostConfig }, `stats-${Runtime}`);
    await eventually(async () => (await box.logs(id)).includes('ready'), { what: 'its memory' });
    const stats = await statsOf(id);
    assert.equal(stats.id, id);
    assert.equal(stats.name, `/stats-${Runtime}`);
    assert.equal(stats.memory_stats.limit, 128 * MiB);
    const { usage = 0 } = stats.memory_stats;
    assert.ok(usage >= 24 * MiB && usage <= 64 * MiB, `${usage} bytes`);
    const { current = 0, limit } = stats.pids_stats;
    assert.ok(current >= 2 && current <= 4, `${current} processes`);
    assert.equal(limit, 50);

    const cpu = stats.cpu_stats.cpu_usage.total_usage - stats.precpu_stats.cpu_usage.total_usage;
    const all =
      (stats.cpu_stats.system_cpu_usage ?? 0) - (stats.precpu_stats.system_cpu_usage ?? 0);
    const cpus = stats.cpu_stats.online_cpus ?? 0;
    const elapsed = Date.parse(stats.read) - Date.parse(stats.preread);
    assert.ok(elapsed >= 500 && cpus >= 1, `${elapsed} ms, ${cpus} CPUs`);
    // A spinning process has a share of the machine, and no more than that.
    assert.ok(all > 0 && cpu > 0 && cpu <= 1.5e6 * elapsed * cpus, `${cpu} of ${all} ns`);
    const written = (stats.blkio_stats.io_service_bytes_recursive ?? [])
      .filter(({ op }) => op.toLowerCase() === 'write')
      .reduce((sum, { value }) => sum + value, 0);
    assert.ok(written >= 4 * MiB && written < 16 * MiB, `${written} bytes written`);
    await box.remove(id);
  });
}
