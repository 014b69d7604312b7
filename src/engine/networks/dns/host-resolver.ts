import { readFileSync, statSync } from 'node:fs';
import { errnoOf } from '../../../base/errors.ts';
import { onlyLoopback, parseResolvConf, type ResolvConf } from '../../../policy/resolv-conf.ts';

const FILE = '/etc/resolv.conf';
/** The resolvers behind systemd-resolved, when /etc/resolv.conf names only its stub. */
const SYSTEMD_FILE = '/run/systemd/resolve/resolv.conf';
const LOOK_AGAIN_MS = 3_000;
const BYTES_MAX = 64 << 10;

/** The host's resolver settings, read again when the file changed. */
export class HostResolver {
  readonly #nowMs: () => number;
  readonly #onChange: () => void;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #stamp = '';
  #conf: ResolvConf = { nameservers: [], search: [], options: [] };

  constructor(nowMs: () => number, onChange: () => void) {
    this.#nowMs = nowMs;
    this.#onChange = onChange;
  }

  /** As the host itself uses it; servers may be on its loopback. */
  own(): ResolvConf {
    const now = this.#nowMs();
    if (now - this.#lookedMs < LOOK_AGAIN_MS) return this.#conf;
    this.#lookedMs = now;
    const stamp = stampOf(FILE);
    if (stamp === this.#stamp) return this.#conf;
    this.#stamp = stamp;
    this.#conf = parseResolvConf(read(FILE));
    this.#onChange();
    return this.#conf;
  }

  /** For containers that ask by themselves: the servers behind a local stub. */
  forContainers(): ResolvConf {
    const own = this.own();
    if (!onlyLoopback(own)) return own;
    const behind = parseResolvConf(read(SYSTEMD_FILE));
    return behind.nameservers.length > 0 ? behind : own;
  }
}

function stampOf(file: string): string {
  try {
    const { mtimeMs, ino, size } = statSync(file);
    return `${ino} ${size} ${mtimeMs}`;
  } catch {
    return 'absent';
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8').slice(0, BYTES_MAX);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}
