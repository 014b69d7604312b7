import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import type { EngineGroup } from './accounting.ts';

const ROOT = '/sys/fs/cgroup';
const isV2 = existsSync(path.join(ROOT, 'cgroup.controllers'));

/**
 * The memory of a small device: a cgroup with a limit, with the engine's processes in it and below
 * it the containers whose `CgroupParent` it is. What an engine fills the page cache with pushes
 * out what the containers had there, as it would on the device.
 */
export class MemoryLimit implements Disposable {
  /** For `HostConfig.CgroupParent`. */
  readonly parent: string;
  readonly #folder: string;
  readonly #group: EngineGroup;

  constructor(group: EngineGroup, name: string, bytes: number) {
    this.#group = group;
    this.parent = `/${name}-${process.pid}`;
    this.#folder = path.join(ROOT, isV2 ? '' : 'memory', this.parent);
    mkdirSync(path.join(this.#folder, 'engine'), { recursive: true });
    if (isV2) writeFileSync(path.join(this.#folder, 'cgroup.subtree_control'), '+memory');
    const limit = isV2 ? 'memory.max' : 'memory.limit_in_bytes';
    writeFileSync(path.join(this.#folder, limit), String(bytes));
    this.#move(group.pids(), path.join(this.#folder, 'engine'));
  }

  #move(pids: readonly number[], folder: string): void {
    for (const pid of pids) {
      try {
        writeFileSync(path.join(folder, 'cgroup.procs'), String(pid));
      } catch (error) {
        // Ended since it was listed.
        if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
      }
    }
  }

  [Symbol.dispose](): void {
    const engine = path.join(this.#folder, 'engine');
    const left = readFileSync(path.join(engine, 'cgroup.procs'), 'utf8').split('\n');
    const home = isV2 ? this.#group.folder : path.join(ROOT, 'memory');
    this.#move(left.filter(Boolean).map(Number), home);
    for (const { name } of readdirSync(this.#folder, { withFileTypes: true }).filter((each) =>
      each.isDirectory(),
    )) {
      rmdirSync(path.join(this.#folder, name));
    }
    rmdirSync(this.#folder);
  }
}
