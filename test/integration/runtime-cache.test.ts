import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openBox } from '../support/box.ts';

type Config = { readonly annotations?: Readonly<Record<string, string>> };

test('the second start with a seccomp filter gets it compiled, and it is the same', async () => {
  await using box = await openBox();
  const { execRoot } = box.daemon;
  const start = async (hostConfig: object = {}) => {
    const id = await box.create({ Cmd: ['sleep', '60'], HostConfig: { ...hostConfig } });
    await box.start(id);
    const config = path.join(execRoot, 'containers', id, 'bundle/config.json');
    const filter = path.join(execRoot, 'runtime/crun', id, 'seccomp.bpf');
    const inspect = (await box.daemon.json('GET', `/containers/${id}/json`)) as {
      State: { Pid: number };
    };
    const status = readFileSync(`/proc/${inspect.State.Pid}/status`, 'utf8');
    return {
      compiled: (JSON.parse(readFileSync(config, 'utf8')) as Config).annotations,
      filter: existsSync(filter) ? readFileSync(filter) : Buffer.alloc(0),
      mode: /^Seccomp:\s*(\d)/m.exec(status)?.[1],
    };
  };
  const [first, second] = [await start(), await start()];
  assert.equal(first.compiled, undefined);
  assert.equal(
    second.compiled?.['run.oci.seccomp_bpf_data'],
    first.filter.toString('base64'),
    'the second start is handed what the first compiled',
  );
  assert(first.filter.length > 1000);
  assert.deepEqual(second.filter, first.filter);
  assert.deepEqual([first.mode, second.mode], ['2', '2'], 'both run under a filter');
  // Other capabilities, another filter; without one, none.
  const more = await start({ CapAdd: ['SYS_ADMIN'] });
  assert.equal(more.compiled, undefined);
  assert.notDeepEqual(more.filter, first.filter);
  const unconfined = await start({ SecurityOpt: ['seccomp=unconfined'] });
  assert.equal(unconfined.compiled, undefined);
  assert.equal(unconfined.mode, '0');
});

test('runtimes are run from a read-only mount, which the next daemon uses again', async () => {
  await using box = await openBox();
  const { daemon } = box;
  await box.start(await box.create({ Cmd: ['true'] }));
  const binaries = (): string[] => {
    // The daemon may have a mount namespace of its own.
    const info = readFileSync(`/proc/${daemon.pid}/mountinfo`, 'utf8');
    const bin = path.join(daemon.execRoot, 'bin');
    return info.split('\n').filter((line) => line.includes(`${bin}/`));
  };
  const [mount = ''] = binaries();
  assert.match(mount, /\/bin\/0\/crun ro,nosuid/);
  await daemon.restart('SIGKILL');
  await box.start(await box.create({ Cmd: ['true'] }));
  assert.equal(binaries().length, 1, 'the next daemon uses the same');
});
