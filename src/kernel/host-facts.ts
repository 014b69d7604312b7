import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { readIfThere } from './cgroup.ts';

/** What the daemon's process and its kernel are, as /proc and /sys say. */

/** `CapEff` of this process, as hex digits (proc_pid_status(5)). */
export function effectiveCapabilityMask(): string {
  const status = readFileSync('/proc/self/status', 'utf8');
  return /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
}

/** `6.18.44-x` as [6, 18]. */
export function kernelVersion(): [major: number, minor: number] {
  const m = /^(\d+)\.(\d+)/.exec(os.release());
  return [Number(m?.[1] ?? 0), Number(m?.[2] ?? 0)];
}

const GO_ARCHITECTURE: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** Go's name of this machine's architecture: amd64, arm64, arm, riscv64. */
export function goArchitecture(): string {
  return GO_ARCHITECTURE[process.arch] ?? process.arch;
}

/** Security modules and the like that a container's configuration depends on. */
export function kernelFeatures(): {
  readonly hasSeccomp: boolean;
  readonly hasApparmor: boolean;
  readonly hasMqueue: boolean;
} {
  return {
    hasSeccomp: existsSync('/proc/sys/kernel/seccomp/actions_avail'),
    hasApparmor: readIfThere('/sys/module/apparmor/parameters/enabled').startsWith('Y'),
    hasMqueue: existsSync('/proc/sys/fs/mqueue'),
  };
}

/** This process's oom_score_adj. */
export function ownOomScoreAdj(): number {
  return Number(readFileSync('/proc/self/oom_score_adj', 'utf8'));
}

/** CPUs and memory nodes that are online, as the kernel lists them (`0-3`). */
export function onlineSets(): { readonly cpus: string; readonly mems: string } {
  return {
    cpus: readIfThere('/sys/devices/system/cpu/online').trim() || '0',
    mems: readIfThere('/sys/devices/system/node/online').trim() || '0',
  };
}
