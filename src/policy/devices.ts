import { invalidArgument } from '../base/errors.ts';
import type { RuntimeDevice, RuntimeDeviceRule } from '../spec/oci/runtime.ts';

/** Devices of a container and what it may do with them. Source: kernel admin-guide/cgroup-v1/devices. */

/**
 * One `--device-cgroup-rule`: `c 42:* rmw`.
 * @throws invalidArgument with Docker's text
 */
export function parseDeviceRule(text: string): RuntimeDeviceRule {
  const m = /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/.exec(text);
  if (m === null) throw invalidArgument(`invalid device cgroup rule format: '${text}'`);
  const [, type, major = '*', minor = '*', access = 'rwm'] = m;
  return {
    allow: true,
    type: type as 'a' | 'c' | 'b',
    ...(major === '*' ? {} : { major: Number(major) }),
    ...(minor === '*' ? {} : { minor: Number(minor) }),
    access,
  };
}

/** What every container may do: make any node, use the harmless ones, its terminals. */
export const DEFAULT_DEVICE_RULES: readonly RuntimeDeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' }, // null
  { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' }, // zero
  { allow: true, type: 'c', major: 1, minor: 7, access: 'rwm' }, // full
  { allow: true, type: 'c', major: 1, minor: 8, access: 'rwm' }, // random
  { allow: true, type: 'c', major: 1, minor: 9, access: 'rwm' }, // urandom
  { allow: true, type: 'c', major: 5, minor: 0, access: 'rwm' }, // tty
  { allow: true, type: 'c', major: 5, minor: 1, access: 'rwm' }, // console
  { allow: true, type: 'c', major: 5, minor: 2, access: 'rwm' }, // ptmx
  { allow: true, type: 'c', major: 136, access: 'rwm' }, // pts
];

/** A device that was found on the host, with the access that was asked for. */
export type GrantedDevice = { readonly device: RuntimeDevice; readonly access: string };

/** The rule that lets a container use a device. */
export function ruleFor({ device, access }: GrantedDevice): RuntimeDeviceRule {
  return {
    allow: true,
    type: device.type === 'b' ? 'b' : 'c',
    major: device.major,
    minor: device.minor,
    access,
  };
}

/** @throws invalidArgument when it is not a set of r, w and m */
export function checkDeviceAccess(access: string): string {
  if (access === '') return 'rwm';
  const letters = new Set(access);
  if (letters.size !== access.length || !/^[rwm]+$/.test(access)) {
    throw invalidArgument(`invalid device mode: ${access}`);
  }
  return access;
}
