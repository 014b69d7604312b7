import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * What an engine costs, all its processes together: it starts in a cgroup of its own, and all that
 * it spawns is in there too, until a runtime moves a container's process to the container's.
 */
const ROOT = '/sys/fs/cgroup';
const isV2 = existsSync(path.join(ROOT, 'cgroup.controllers'));

/** Fields of smaps_rollup: all memory, what is shared counted by halves, and that without files. */
export type MemoryField = 'Rss' | 'Pss' | 'Pss_Anon';

export class EngineGroup implements Disposable {
  /** Its cgroup. */
  readonly folder: string;

  constructor(name: string) {
    this.folder = path.join(ROOT, isV2 ? '' : 'cpuacct', `${name}-${process.pid}`);
    mkdirSync(this.folder);
  }

  /** Words before a command that put it into the group. */
  wrap(command: readonly string[]): string[] {
    return ['sh', '-c', `echo $$ > ${this.folder}/cgroup.procs && exec "$@"`, 'sh', ...command];
  }

  /** CPU that all its processes, dead ones too, have used. Milliseconds. */
  cpuMs(): number {
    if (!isV2) return Number(readFileSync(path.join(this.folder, 'cpuacct.usage'), 'utf8')) / 1e6;
    const stat = readFileSync(path.join(this.folder, 'cpu.stat'), 'utf8');
    return Number(/^usage_usec (\d+)/m.exec(stat)?.[1]) / 1e3;
  }

  pids(): number[] {
    const text = readFileSync(path.join(this.folder, 'cgroup.procs'), 'utf8');
    return text.split('\n').filter(Boolean).map(Number);
  }

  /** Sum of a field of the memory of its processes, kB (proc_pid_status(5), proc_pid_smaps(5)). */
  memoryKb(field: MemoryField): number {
    return this.pids().reduce((sum, pid) => sum + this.memoryOf(pid, field), 0);
  }

  /** The same for one process; 0 when it has ended. */
  memoryOf(pid: number, field: MemoryField): number {
    try {
      // What is asked for often must not cost those who are measured: smaps walks all their pages.
      const [file, name] = field === 'Rss' ? ['status', 'VmRSS'] : ['smaps_rollup', field];
      const text = readFileSync(`/proc/${pid}/${file}`, 'utf8');
      return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
    } catch {
      return 0; // ended since it was listed
    }
  }

  [Symbol.dispose](): void {
    for (let i = 0; this.pids().length > 0 && i < 50; i++) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
    rmdirSync(this.folder);
  }
}

/** Bytes that a process and the children it waited for have sent towards a disk. */
export function writtenBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/io`, 'utf8');
  return Number(/^write_bytes: (\d+)/m.exec(text)?.[1] ?? 0);
}

/** Page cache of the machine without what lies in tmpfs, MB, after what is dirty was written. */
export function pageCacheMb(): number {
  const text = readFileSync('/proc/meminfo', 'utf8');
  const kb = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return (kb('Cached') - kb('Shmem')) / 1024;
}

/** Drops clean pages, dentries and inodes, so that what follows starts equal. */
export function dropCaches(): void {
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}

/** Calls `sample` every `everyMs` until disposed; `peak` is the largest it gave. */
export class Peak implements Disposable {
  peak = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(sample: () => number, everyMs = 25) {
    this.#timer = setInterval(() => {
      this.peak = Math.max(this.peak, sample());
    }, everyMs);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** A quarter of the values are below it. For times on a busy machine: what disturbs only adds. */
export function lowerQuartile(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 2] ?? Number.NaN;
}
