import { assert } from '../src/base/errors.ts';
import { openSyscalls } from '../src/kernel/ffi.ts';
import { failStart } from './daemon-failure.ts';
import { runDaemon } from './daemon-run.ts';
import { readWish } from './daemon-settings.ts';
import { STAGE } from './parts.ts';

/** The ioctl that sets close-on-exec. */
const FIOCLEX = 0x5451;

/** The daemon proper; `daemon.ts` has made the process what it must be. */
export function main(args: string[]): void {
  process.once('uncaughtException', failStart);
  const wish = readWish(args, process.env);
  assert(wish.kind === 'run', `the daemon was told to ${wish.kind}`);
  const stage = process.env[STAGE];
  delete process.env[STAGE];
  const [host = '', isNew] = (stage ?? '').split(' ');
  if (host !== '') openSyscalls().ioctl(Number(host), FIOCLEX, 0);
  runDaemon({
    config: wish.load(),
    reload: wish.load,
    mountNamespace: host === '' ? undefined : { host: Number(host), isNew: isNew !== undefined },
    env: process.env,
  })
    .then((code) => process.exit(code))
    .catch(failStart);
}
