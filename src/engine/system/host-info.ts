import { createHash } from 'node:crypto';
import { readdirSync, statfsSync } from 'node:fs';
import os from 'node:os';
import { readIfThere } from '../../kernel/cgroup.ts';
import type { SystemInfo } from '../../spec/docker/system.ts';
import type { Engine } from '../engine.ts';

/** The parts of `docker info` that the host decides. */

/** Names that Docker gives to filesystems, by statfs(2)'s f_type. */
const FILESYSTEMS: Readonly<Record<number, string>> = {
  61267: 'extfs',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  4076150800: 'f2fs',
  16914836: 'tmpfs',
  2035054128: 'overlayfs',
  801189825: 'zfs',
  604313861: 'ubifs',
  3393526350: 'bcachefs',
  26985: 'nfs',
};

/** `Driver` and its `DriverStatus`. */
export function storageInfo(engine: Engine): Pick<SystemInfo, 'Driver' | 'DriverStatus'> {
  const { type } = statfsSync(engine.dataRoot.root);
  const name = FILESYSTEMS[type] ?? `0x${type.toString(16)}`;
  return { Driver: engine.layers.driver, DriverStatus: [['Backing Filesystem', name]] };
}

/** What /etc/os-release calls the system (os-release(5)). */
export function operatingSystem(): Pick<SystemInfo, 'OperatingSystem' | 'OSVersion'> {
  const text = readIfThere('/etc/os-release') || readIfThere('/usr/lib/os-release');
  return {
    OperatingSystem: releaseField(text, 'PRETTY_NAME') || releaseField(text, 'NAME') || 'Linux',
    OSVersion: releaseField(text, 'VERSION_ID'),
  };
}

/** One field of an os-release file, unquoted. */
export function releaseField(text: string, name: string): string {
  const value = new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';
  const quoted = /^(["'])(.*)\1$/.exec(value.trim());
  return (quoted?.[2] ?? value.trim()).replace(/\\(["'`$\\])/g, '$1');
}

/**
 * The engine's ID: the same for one data root on one machine, made up anew nowhere, so that it
 * costs no write. Shaped as a UUID.
 */
export function engineId(engine: Engine): string {
  const machine = readIfThere('/etc/machine-id').trim() || os.hostname();
  const hex = createHash('sha256').update(`${machine}\0${engine.dataRoot.root}`).digest('hex');
  return [8, 4, 4, 4, 12]
    .map((length, i, all) => {
      const start = all.slice(0, i).reduce((sum, each) => sum + each, 0);
      return hex.slice(start, start + length);
    })
    .join('-');
}

/** True when a file of /proc/sys holds 1. */
export function isSysctlOn(file: string): boolean {
  return readIfThere(`/proc/sys/${file}`).trim() === '1';
}

/** Open descriptors of the daemon. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

/** The security options in force, as `docker info` lists them. */
export function securityOptions(engine: Engine): string[] {
  const { hasApparmor, hasSeccomp } = engine.host.runtime;
  const { seccompProfile, usernsRemap, noNewPrivileges, defaultCgroupnsMode } = engine.config();
  const options: string[] = [];
  if (hasApparmor) options.push('name=apparmor');
  if (hasSeccomp) options.push(`name=seccomp,profile=${seccompProfile || 'builtin'}`);
  if (usernsRemap !== '') options.push('name=userns');
  const isV2 = engine.host.cgroups.version === 2;
  if ((defaultCgroupnsMode || (isV2 ? 'private' : 'host')) === 'private') {
    options.push('name=cgroupns');
  }
  if (noNewPrivileges) options.push('name=no-new-privileges');
  return options;
}
