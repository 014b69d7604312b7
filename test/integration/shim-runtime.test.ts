import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { errnoOf } from '../../src/base/errors.ts';
import type { Shim, ShimSpec } from '../../src/kernel/shim.ts';
import { openShims } from '../../src/kernel/shims.ts';
import {
  type BundleProcess,
  makeBundle,
  makeBusyboxRoot,
  processSpec,
  usableRuntime,
} from '../support/bundle.ts';
import { eventually, run } from '../support/processes.ts';
import { memoryOf } from '../support/resources.ts';
import { hasEnded, logEntries, readToEnd, shimSpec, unframe } from '../support/shim.ts';
import { temporaryFolder } from '../support/temp.ts';
import { CHECKOUT } from '../support/tools.ts';

/* The shim as it is shipped, with crun and runc. */

const folder = temporaryFolder('shim-runtime');
const root = folder.path;
const shims = openShims({
  program: path.join(CHECKOUT, 'build/shim'),
  env: { PATH: process.env['PATH'] ?? '' },
});
await makeBusyboxRoot(path.join(root, 'root'));

const OUTPUT = { stdin: false, stdout: true, stderr: true };
const ALL = { stdin: true, stdout: true, stderr: true };
const RUNTIMES = ['crun', 'runc'] as const;

const started: { readonly runtime: ShimSpec['runtime']; readonly id: string }[] = [];
after(async () => {
  for (const { runtime, id } of started) {
    await run(runtime.path, [...runtime.args, 'delete', '--force', id]);
  }
  folder[Symbol.dispose]();
});

let count = 0;
/** Settings of a shim for a container of its own. */
async function container(
  name: (typeof RUNTIMES)[number],
  process_: BundleProcess,
  more: Partial<ShimSpec> = {},
): Promise<ShimSpec> {
  const id = `coracle-shim-${process.pid}-${++count}`;
  const runtime = {
    path: await usableRuntime(root, name),
    args: ['--root', path.join(root, `state-${name}`)],
  };
  started.push({ runtime, id });
  const bundle = path.join(root, `bundle${count}`);
  makeBundle(bundle, path.join(root, 'root'), { ...process_, cgroup: `/${id}` });
  return shimSpec(root, id, runtime, {
    process: { kind: 'container', bundle },
    terminal: process_.terminal ?? false,
    ...more,
  });
}

/** Settings of a shim for an exec in a container. */
function exec(of: ShimSpec, process_: BundleProcess, more: Partial<ShimSpec> = {}): ShimSpec {
  const spec = shimSpec(root, `exec${++count}`, of.runtime, {
    containerId: of.containerId,
    terminal: process_.terminal ?? false,
    ...more,
  });
  const processFile = path.join(spec.directory, 'process.json');
  writeFileSync(processFile, JSON.stringify(processSpec(process_)));
  return { ...spec, process: { kind: 'exec', processFile } };
}

async function outputOf(shim: Shim): Promise<{ stdout: string; stderr: string; code: number }> {
  const socket = await shim.attach(OUTPUT);
  await shim.start();
  const { stdout, stderr } = unframe(await readToEnd(socket));
  const { exitCode } = await shim.exited;
  return { stdout: stdout.toString(), stderr: stderr.toString(), code: exitCode };
}

for (const name of RUNTIMES) {
  test(`${name}: a container's streams, exit code and log`, async () => {
    const file = path.join(root, `${name}.log`);
    const log = {
      ...{ driver: 'json-file' as const, path: file, maxSizeBytes: 0, filesMax: 1 },
      ...{ compress: false, attrs: '', options: [], nonBlocking: false, bufferBytes: 0 },
    };
    const args = ['sh', '-c', 'hostname; echo err >&2; exit 42'];
    const shim = await shims.launch(await container(name, { args }, { log }));
    assert.deepEqual(await outputOf(shim), { stdout: 'test\n', stderr: 'err\n', code: 42 });
    assert.deepEqual(
      logEntries(file)
        .map((each) => `${each.stream}: ${each.log}`)
        .sort(),
      ['stderr: err\n', 'stdout: test\n'],
    );
  });

  test(`${name}: a process that ends by a signal`, async () => {
    const shim = await shims.launch(await container(name, { args: ['sleep', '60'] }));
    const { pid } = await shim.start();
    process.kill(pid, 'SIGKILL');
    assert.equal((await shim.exited).exitCode, 137);
  });

  test(`${name}: what cannot be run is said in its words`, async () => {
    const absent = await shims.launch(await container(name, { args: ['no-such-program'] }));
    await assert.rejects(absent.start(), /no-such-program.*not found in \$PATH/);
    await eventually(() => hasEnded(absent.pid));
    const directory = await shims.launch(await container(name, { args: ['/tmp'] }));
    await assert.rejects(directory.start(), /permission denied|is a directory|not permitted/i);
  });

  test(`${name}: a terminal with its size, input and echo`, async () => {
    const args = ['sh', '-c', 'stty size; read line; stty size; echo got $line; exit 3'];
    const spec = await container(
      name,
      { args, terminal: true, consoleSize: [33, 111] },
      { openStdin: true, consoleSize: [33, 111] },
    );
    const shim = await shims.launch(spec);
    const client = await shim.attach(ALL);
    let text = '';
    client.setEncoding('utf8').on('data', (some: string) => {
      text += some;
    });
    await shim.start();
    await eventually(() => text.includes('33 111'), { what: `the size; there is ${text}` });
    await shim.resize({ rows: 50, columns: 200 });
    client.write('hello\n');
    assert.equal((await shim.exited).exitCode, 3);
    await eventually(() => client.closed);
    assert.equal(text, '33 111\r\nhello\r\n50 200\r\ngot hello\r\n');
  });

  test(`${name}: a terminal that is closed for a while and opened again`, async () => {
    const inner = 'exec <&- >&- 2>&-; sleep 0.3; exec </dev/console >/dev/console; echo again';
    const args = ['sh', '-c', `echo first; ${inner}`];
    const spec = await container(name, { args, terminal: true }, { openStdin: true });
    const shim = await shims.launch(spec);
    const client = await shim.attach(ALL);
    const output = readToEnd(client);
    await shim.start();
    const watcher = setInterval(() => client.writable && client.write('x'), 20);
    assert.equal((await shim.exited).exitCode, 0);
    clearInterval(watcher);
    // What is typed comes back as long as somebody has the terminal open: before, between and after.
    assert.match((await output).toString(), /^x*first\r\nx*again\r\nx*$/);
  });

  test(`${name}: execs in a running container`, async () => {
    const spec = await container(name, { args: ['sleep', '60'] });
    const shim = await shims.launch(spec);
    const { pid } = await shim.start();

    const plain = await shims.launch(exec(spec, { args: ['sh', '-c', 'hostname; exit 7'] }));
    assert.deepEqual(await outputOf(plain), { stdout: 'test\n', stderr: '', code: 7 });

    const piped = await shims.launch(
      exec(spec, { args: ['cat'] }, { openStdin: true, stdinOnce: true }),
    );
    const client = await piped.attach(ALL);
    await piped.start();
    client.end('through\n');
    assert.equal(unframe(await readToEnd(client)).stdout.toString(), 'through\n');

    const terminal = await shims.launch(
      exec(spec, { args: ['tty'], terminal: true }, { openStdin: true }),
    );
    const screen = await terminal.attach(ALL);
    await terminal.start();
    assert.match((await readToEnd(screen)).toString(), /^\/dev\/(pts\/\d+|console)\r\n$/);

    const absent = await shims.launch(exec(spec, { args: ['no-such-program'] }));
    await assert.rejects(absent.start(), /no-such-program/);

    // A process that an exec leaves behind does not keep its end back.
    const leaving = await shims.launch(exec(spec, { args: ['sh', '-c', 'sleep 50 & echo left'] }));
    assert.equal((await outputOf(leaving)).stdout, 'left\n');

    process.kill(pid, 'SIGKILL');
    await shim.exited;
  });

  test(`${name}: an end by lack of memory is told from another`, async (t) => {
    const group = existsSync('/sys/fs/cgroup/memory') ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup';
    const args = ['sh', '-c', 'tail /dev/zero'];
    const spec = await container(name, { args, memoryBytes: 16 << 20 });
    const counter = group.endsWith('memory') ? 'memory.oom_control' : 'memory.events';
    const oomFile = path.join(group, spec.containerId, counter);
    const shim = await shims.launch({ ...spec, oomFile });
    try {
      await shim.start();
    } catch (error) {
      if (errnoOf(error) === undefined && /swap/i.test(String(error)))
        return t.skip('no swap limit');
      throw error;
    }
    const status = await shim.exited;
    assert.deepEqual([status.exitCode, status.oomKilled], [137, true]);

    const other = await container(name, {
      args: ['sh', '-c', 'kill -KILL $$'],
      memoryBytes: 16 << 20,
    });
    const calm = await shims.launch({
      ...other,
      oomFile: path.join(group, other.containerId, counter),
    });
    await calm.start();
    assert.equal((await calm.exited).oomKilled, false);
  });
}

test('a shim beside a running container takes little memory, and no descriptor of the launcher', async () => {
  const shim = await shims.launch(await container('crun', { args: ['sleep', '60'] }));
  const { pid } = await shim.start();
  const { pssKb } = memoryOf(shim.pid);
  assert.ok(pssKb <= 200, `${pssKb} kB`);
  const status = readFileSync(`/proc/${shim.pid}/status`, 'utf8');
  assert.match(status, /^PPid:\t1$/m);
  const { stdout } = await run('ls', ['-l', `/proc/${shim.pid}/fd`]);
  const targets = stdout.split('\n').flatMap((line) => line.split(' -> ')[1] ?? []);
  const own = /^(\/dev\/null|socket:.*|pipe:.*|anon_inode:.*)$/;
  assert.deepEqual(
    targets.filter((each) => !own.test(each)),
    [],
  );
  process.kill(pid, 'SIGKILL');
  await shim.exited;
});
