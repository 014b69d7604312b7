import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';

/** `update`: limits of running and of stopped containers, and their restart policy. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

/** What the kernel keeps, by cgroup v1's names or v2's; a limit that is none reads `none`. */
async function limitsOf(id: string): Promise<Record<string, string>> {
  const files = {
    memory: ['memory/memory.limit_in_bytes', 'memory.max'],
    pids: ['pids/pids.max', 'pids.max'],
    quota: ['cpu/cpu.cfs_quota_us', 'cpu.max'],
    cpus: ['cpuset/cpuset.cpus', 'cpuset.cpus'],
  };
  const found: Record<string, string> = {};
  for (const [name, [v1, v2]] of Object.entries(files)) {
    const read = `cat /sys/fs/cgroup/${v1} 2>/dev/null || cat /sys/fs/cgroup/${v2}`;
    const [first = ''] = (await box.exec(id, 'sh', '-c', read)).output.trim().split(' ');
    found[name] = ['max', '-1'].includes(first) ? 'none' : first;
  }
  return found;
}

const update = async (id: string, body: object): Promise<{ status: number; text: string }> =>
  await box.daemon.api('POST', `/containers/${id}/update`, body);

for (const Runtime of ['crun', 'runc']) {
  test(`${Runtime}: limits of a running container are changed, and taken away`, async () => {
    const HostConfig = { Runtime, Memory: 32 << 20, PidsLimit: 33, CpuQuota: 50_000 };
    const id = await box.up({ Cmd: ['sleep', '100'], HostConfig });
    const cpus = (await limitsOf(id))['cpus'] ?? '';
    const memory = String(32 << 20);
    assert.deepEqual(await limitsOf(id), { memory, pids: '33', quota: '50000', cpus });
    const steps: readonly (readonly [object, Record<string, string>])[] = [
      [{ Memory: 48 << 20, MemorySwap: 96 << 20 }, { memory: String(48 << 20) }],
      [{ PidsLimit: 20 }, { pids: '20' }],
      [{ PidsLimit: null, CpuQuota: 20_000 }, { quota: '20000' }],
      [{ PidsLimit: -1 }, { pids: 'none' }],
      [
        { PidsLimit: 21, CpusetCpus: '0' },
        { pids: '21', cpus: '0' },
      ],
      [
        { PidsLimit: 0, CpuQuota: -1 },
        { pids: 'none', quota: 'none' },
      ],
    ];
    let wanted = await limitsOf(id);
    for (const [body, change] of steps) {
      const answer = await update(id, body);
      assert.deepEqual([answer.status, answer.text], [200, '{"Warnings":[]}\n'], answer.text);
      wanted = { ...wanted, ...change };
      assert.deepEqual(await limitsOf(id), wanted, JSON.stringify(body));
    }
    // They are those of the next start, too.
    await box.daemon.json('POST', `/containers/${id}/restart?t=0`);
    assert.deepEqual(await limitsOf(id), wanted);
    await box.remove(id);
  });
}

test('what is wrong changes nothing, and says why', async () => {
  const id = await box.up({
    Cmd: ['sleep', '100'],
    HostConfig: { Memory: 32 << 20, NanoCpus: 5e8, PidsLimit: 33 },
  });
  const before = [(await box.inspect(id)).HostConfig, await limitsOf(id)];
  for (const [body, status, reason] of [
    [{ Memory: 1000 }, 400, /Minimum memory limit allowed is 6MB/],
    [{ Memory: -1 }, 400, /Minimum memory limit/],
    [{ Memory: 128 << 20 }, 409, /update the memoryswap at the same time/],
    [{ CpuPeriod: 50_000 }, 409, /CPU Period cannot be updated as NanoCPUs has already been set/],
    [{ CpuShares: -2 }, 400, /invalid CPU shares/],
    [{ PidsLimit: 2 ** 40 }, 400, /invalid PIDs limit/],
    [{ CpusetCpus: '900' }, 400, /Requested CPUs are not available/],
    [{ BlkioWeight: 70_000 }, 400, /BlkioWeight of type uint16/],
    [{ RestartPolicy: { Name: 'sometimes' } }, 400, /unknown policy 'sometimes'/],
    [{ RestartPolicy: { Name: 'always', MaximumRetryCount: 2 } }, 400, /maximum retry count/],
    [{ PidsLimit: 'many' }, 400, /cannot unmarshal string/],
  ] as const) {
    const answer = await update(id, body);
    assert.equal(answer.status, status, `${JSON.stringify(body)}: ${answer.text}`);
    assert.match(answer.text, reason);
  }
  assert.deepEqual([(await box.inspect(id)).HostConfig, await limitsOf(id)], before);
  await box.remove(id);
  assert.equal((await update('nobody', { CpuShares: 2 })).status, 404);

  const own = await box.create({ Cmd: ['true'], HostConfig: { AutoRemove: true } });
  const policy = await update(own, { RestartPolicy: { Name: 'always' } });
  assert.deepEqual([policy.status, /AutoRemove is enabled/.test(policy.text)], [400, true]);
  await box.remove(own);
});

test('a stopped container has its new limits and policy when it starts', async () => {
  const id = await box.create({ Cmd: ['sleep', '100'] });
  await box.daemon.json('POST', `/containers/${id}/update`, {
    PidsLimit: 44,
    RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
  });
  await box.daemon.restart();
  const { HostConfig } = await box.inspect(id);
  assert.deepEqual(
    [HostConfig.PidsLimit, HostConfig.RestartPolicy],
    [44, { Name: 'on-failure', MaximumRetryCount: 3 }],
  );
  await box.start(id);
  assert.equal((await limitsOf(id))['pids'], '44');
  await box.remove(id);
});
