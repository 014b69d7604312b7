/**
 * The demonstration behind script/demo: each step says what it does, runs the same commands that a
 * user would type, and shows what they cost.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { humanSize } from '../src/base/bytes.ts';
import { clientCommand, startDaemon } from '../test/support/daemon.ts';
import { debianImage, pushImage } from '../test/support/images.ts';
import { run } from '../test/support/processes.ts';
import { startRegistry } from '../test/support/registry.ts';
import { memoryOf } from '../test/support/resources.ts';

const isTerminal = process.stdout.isTTY === true;
const style = (code: string, text: string): string =>
  isTerminal ? `\x1b[${code}m${text}\x1b[0m` : text;

function step(text: string): void {
  console.log(`\n${style('1;36', '●')} ${style('1', text)}`);
}

function note(text: string): void {
  console.log(style('2', `  ${text}`));
}

/** Types a command of ours at the reader, runs it, and waits. */
async function type(host: string, ...args: string[]): Promise<void> {
  const shown = args.map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg}'`)).join(' ');
  console.log(`${style('32', '$')} coracle ${shown}`);
  const child = spawn(clientCommand(), args, {
    stdio: 'inherit',
    env: { ...process.env, DOCKER_HOST: host },
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`coracle ${args[0]} ended with ${code}`);
}

async function main(): Promise<void> {
  const began = performance.now();
  step('A registry on loopback, and a Debian image made of Debian’s own packages');
  note('The first time, the packages are fetched; after that they are in .cache/.');
  await using registry = await startRegistry();
  const image = await debianImage();
  await pushImage(registry, 'demo/debian', 'stable', image);
  const reference = `${registry.host}/demo/debian:stable`;
  const packed = image.layers.reduce((sum, layer) => sum + layer.bytes.length, 0);
  note(`${image.layers.length} layers, ${humanSize(packed)} as the registry stores them`);

  step('The daemon, with a data root and a socket of its own');
  await using daemon = await startDaemon();
  note(`up as process ${daemon.pid}, ${humanSize(memoryOf(daemon.pid).pssKb * 1024)} of memory`);

  step('Pull: downloaded, verified and extracted in one pass');
  await type(daemon.host, 'pull', reference);
  await type(daemon.host, 'images');

  step('Run');
  await type(
    daemon.host,
    'run',
    '--rm',
    reference,
    'sh',
    '-c',
    'cat /etc/motd; grep PRETTY /etc/os-release; hostname',
  );
  await type(
    daemon.host,
    'run',
    '-d',
    '--name',
    'worker',
    reference,
    'sh',
    '-c',
    'while :; do date; sleep 1; done',
  );

  step('The engine is killed with SIGKILL; the container does not notice');
  await daemon.restart('SIGKILL');
  await type(daemon.host, 'ps');
  await type(daemon.host, 'logs', '--tail', '3', 'worker');
  const shims = await run('pgrep', ['-f', daemon.execRoot]);
  const shim = shims.stdout
    .split('\n')
    .map(Number)
    .find((pid) => pid > 0 && pid !== daemon.pid);
  if (shim !== undefined) note(`its supervisor takes ${memoryOf(shim).pssKb} kB of memory`);
  await type(daemon.host, 'rm', '-f', 'worker');

  step('Cleaning up');
  await daemon.stop();
  note(`all of it took ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

await main();
