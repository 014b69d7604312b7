import { readFileSync } from 'node:fs';

/** One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)). */
export type MountInfo = {
  readonly id: number;
  readonly parentId: number;
  /** Path within its filesystem that is mounted. */
  readonly root: string;
  readonly mountPoint: string;
  /** Flags of the mount itself: `ro`, `nosuid` … */
  readonly options: readonly string[];
  /** `shared:1`, `master:2` … */
  readonly propagation: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: string;
};

function decodeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** The mounts of this process's namespace, in mount order. */
export function readMountInfo(file = '/proc/self/mountinfo'): MountInfo[] {
  const mounts: MountInfo[] = [];
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    if (line === '') continue;
    const fields = line.split(' ');
    const dash = fields.indexOf('-', 6);
    mounts.push({
      id: Number(fields[0]),
      parentId: Number(fields[1]),
      root: decodeOctal(fields[3] ?? ''),
      mountPoint: decodeOctal(fields[4] ?? ''),
      options: (fields[5] ?? '').split(','),
      propagation: fields.slice(6, dash),
      type: fields[dash + 1] ?? '',
      source: decodeOctal(fields[dash + 2] ?? ''),
      superOptions: fields[dash + 3] ?? '',
    });
  }
  return mounts;
}

/** True when something is mounted at exactly this path. */
export function isMountPoint(path: string): boolean {
  return readMountInfo().some((mount) => mount.mountPoint === path);
}
