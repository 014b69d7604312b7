import { conflict, invalidArgument } from '../base/errors.ts';
import { parseIp } from '../base/ip.ts';
import type { ContainerConfig, HostConfig, RestartPolicy } from '../spec/docker/container.ts';
import { containerCapabilities } from './capabilities.ts';
import { checkPort } from './container-config.ts';
import { parseDeviceRule } from './devices.ts';
import { parseNamespaceMode } from './namespaces.ts';
import { checkResources, type ResourceFacts } from './resources.ts';
import { parseSecurityOptions } from './security-options.ts';
import { parseContainerSize } from './storage-options.ts';
import { checkUlimits } from './ulimits.ts';

/**
 * Whether a HostConfig makes sense, before anything is made. Rules and texts: moby
 * `daemon/container.go`, `daemon/daemon_unix.go` and `runconfig/hostconfig_unix.go`.
 */

/**
 * The runtime of containers whose filesystem a host boots from: the engine puts nothing into it. One
 * that is started is run by the default runtime.
 */
export const BARE_RUNTIME = 'bare';

/** What the checks need to know of the daemon and its host. */
export type HostConfigFacts = ResourceFacts & {
  readonly runtimes: readonly string[];
  readonly usernsRemap: string;
  readonly cgroupDriver: 'cgroupfs' | 'systemd';
  readonly isCgroupV2: boolean;
};

/**
 * Checks a HostConfig with its container's config. Returns it without the limits that the host
 * cannot keep, and a warning for each of these.
 * @throws invalidArgument, conflict with Docker's texts
 */
export function checkHostConfig(
  host: HostConfig,
  config: ContainerConfig,
  facts: HostConfigFacts,
): { hostConfig: HostConfig; warnings: string[] } {
  checkTexts(host, 'HostConfig');
  checkRestartPolicy(host.RestartPolicy);
  if (host.AutoRemove && !['', 'no'].includes(host.RestartPolicy.Name)) {
    throw invalidArgument("can't create 'AutoRemove' container with restart policy");
  }
  for (const [what, names] of [
    ['CapAdd', host.CapAdd],
    ['CapDrop', host.CapDrop],
  ] as const) {
    checkCapabilityNames(what, names ?? []);
  }
  for (const text of host.ExtraHosts ?? []) checkExtraHost(text);
  checkDns(host);
  for (const [port, bindings] of Object.entries(host.PortBindings)) {
    checkPort(port);
    for (const { HostPort } of bindings ?? []) {
      if (HostPort !== '') checkPort(HostPort);
    }
  }
  for (const link of host.Links ?? []) {
    if (link === '' || link.split(':').length > 2) {
      throw invalidArgument(`bad format for links: ${link}`);
    }
  }
  for (const key of Object.keys(host.Annotations)) {
    if (key === '') throw invalidArgument('invalid Annotations: the empty string is not permitted');
  }
  for (const [name, value] of Object.entries(host.Sysctls ?? {})) {
    // Names lie below /proc/sys; the kernel takes a page of text at the most.
    if (!/^[\w.:/-]{1,255}$/.test(name) || value.length > 4096) {
      throw invalidArgument(`invalid sysctl: ${name.slice(0, 64)}=${value.slice(0, 64)}`);
    }
  }
  for (const rule of host.DeviceCgroupRules ?? []) parseDeviceRule(rule);
  checkUlimits(host.Ulimits ?? []);
  parseSecurityOptions(host.SecurityOpt ?? []);
  parseContainerSize(host.StorageOpt ?? {});
  checkNumbers(host);
  checkPlatform(host, facts);
  checkNamespaces(host, config, facts);
  checkContainerIdEnv(host, config);
  const { resources, warnings } = checkResources(host, facts);
  return { hostConfig: { ...host, ...resources }, warnings };
}

/** The kernel ends a text at its first NUL, so a path with one would be another path. */
function checkTexts(value: unknown, field: string): void {
  if (typeof value === 'string') {
    if (value.includes('\0')) throw invalidArgument(`invalid ${field}: it has a NUL byte`);
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, each] of Object.entries(value)) {
      checkTexts(key, field);
      checkTexts(each, Array.isArray(value) ? field : `${field}.${key}`);
    }
  }
}

/** Each becomes a word of the container's resolv.conf. */
function checkDns(host: HostConfig): void {
  for (const server of host.Dns ?? []) {
    if (parseIp(server.replace(/%\w+$/, '')) === undefined) {
      throw invalidArgument(`invalid Dns: ${server} is not an ip address`);
    }
  }
  for (const [field, words] of [
    ['DnsSearch', host.DnsSearch],
    ['DnsOptions', host.DnsOptions],
  ] as const) {
    for (const word of words ?? []) {
      if (/\s/.test(word) || word.length > DNS_WORD_CHARS_MAX) {
        throw invalidArgument(`invalid ${field}: ${JSON.stringify(word)}`);
      }
    }
  }
}

/** The longest name that there can be. */
const DNS_WORD_CHARS_MAX = 255;

/** @throws invalidArgument with Docker's texts */
export function checkRestartPolicy(policy: RestartPolicy): void {
  const { Name, MaximumRetryCount } = policy;
  if (MaximumRetryCount < 0) {
    const hint =
      Name === 'on-failure' ? '' : " and can only be used with 'on-failure' restart policy";
    throw invalidArgument(`invalid restart policy: maximum retry count cannot be negative${hint}`);
  }
  switch (Name) {
    case 'always':
    case 'no':
    case 'unless-stopped':
      if (MaximumRetryCount !== 0) {
        throw invalidArgument(
          `invalid restart policy: maximum retry count can only be used with 'on-failure'`,
        );
      }
      return;
    case 'on-failure':
    case '':
      return;
    default:
      throw invalidArgument(
        `invalid restart policy: unknown policy '${Name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
      );
  }
}

function checkCapabilityNames(what: string, names: readonly string[]): void {
  for (const name of names) {
    try {
      containerCapabilities({ add: [name], drop: [], privileged: false, available: [] });
    } catch {
      const full = name.toUpperCase().replace(/^(?:CAP_)?/, 'CAP_');
      throw invalidArgument(`invalid ${what}: unknown capability: "${full}"`);
    }
  }
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.|$)){4}$/;
const IPV6 = /^\[?[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(?:%\w+)?\]?$/;

/** `name:address` or `name=address`, where address may be `host-gateway`. */
function checkExtraHost(text: string): void {
  const [, name, address] = /^([^:=]+)[:=](.*)$/s.exec(text) ?? [];
  if (name === undefined || address === undefined) {
    throw invalidArgument(`bad format for add-host: "${text}"`);
  }
  if (address !== 'host-gateway' && !IPV4.test(address) && !IPV6.test(address)) {
    throw invalidArgument(`invalid IP address in add-host: "${address}"`);
  }
}

/** A terminal's size is kept in 16 bits. */
const CONSOLE_SIDE_MAX = 65_535;

function checkNumbers(host: HostConfig): void {
  if (host.ShmSize < 0) throw invalidArgument('SHM size can not be less than 0');
  if (host.OomScoreAdj < -1000 || host.OomScoreAdj > 1000) {
    throw invalidArgument(
      `Invalid value ${host.OomScoreAdj}, range for oom score adj is [-1000, 1000]`,
    );
  }
  const { ConsoleSize } = host;
  if (ConsoleSize.length > 2 || ConsoleSize.some((side) => side > CONSOLE_SIDE_MAX)) {
    throw invalidArgument(
      `invalid console size: want rows and columns, each ${CONSOLE_SIDE_MAX} at the most`,
    );
  }
}

function checkPlatform(host: HostConfig, facts: HostConfigFacts): void {
  if (!['', 'default'].includes(host.Isolation)) {
    throw invalidArgument(`invalid isolation '${host.Isolation}' on linux`);
  }
  if (!['', BARE_RUNTIME, ...facts.runtimes].includes(host.Runtime)) {
    throw invalidArgument(`unknown or invalid runtime name: ${host.Runtime}`);
  }
  if (facts.cgroupDriver === 'systemd' && host.CgroupParent !== '') {
    if (!/^[^/]+\.slice$/.test(host.CgroupParent)) {
      throw invalidArgument(
        'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"',
      );
    }
  }
  const [request] = host.DeviceRequests ?? [];
  if (request !== undefined) {
    const sets = request.Capabilities.map((set) => `[${set.join(' ')}]`).join(' ');
    throw invalidArgument(
      `could not select device driver "${request.Driver}" with capabilities: [${sets}]: device requests (--gpus) are not supported, pass the devices with --device`,
    );
  }
}

function checkNamespaces(host: HostConfig, config: ContainerConfig, facts: HostConfigFacts): void {
  const container = /^container:/;
  parseNamespaceMode('PID', host.PidMode, ['', 'host', 'container']);
  parseNamespaceMode('IPC', host.IpcMode, [
    '',
    'none',
    'private',
    'shareable',
    'host',
    'container',
  ]);
  parseNamespaceMode('UTS', host.UTSMode, ['', 'host']);
  parseNamespaceMode('user', host.UsernsMode, ['', 'host']);
  parseNamespaceMode('cgroup namespace', host.CgroupnsMode, ['', 'private', 'host']);
  const isRemapped =
    facts.usernsRemap !== '' && host.UsernsMode !== 'host' && host.Runtime !== BARE_RUNTIME;
  if (host.Privileged && isRemapped) {
    throw invalidArgument(
      'privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode',
    );
  }
  if (isRemapped) {
    if (host.NetworkMode === 'host') {
      throw invalidArgument(
        "cannot share the host's network namespace when user namespaces are enabled",
      );
    }
    if (host.PidMode === 'host') {
      throw invalidArgument('cannot share the host PID namespace when user namespaces are enabled');
    }
  }
  if (host.UTSMode === 'host' && config.Hostname !== '') {
    throw invalidArgument('conflicting options: hostname and the UTS mode');
  }
  const linksClash = "networking can't be used with links. This would result in undefined behavior";
  if (host.NetworkMode === 'host' && (host.Links ?? []).length > 0) {
    throw invalidArgument(`conflicting options: host type ${linksClash}`);
  }
  if (!container.test(host.NetworkMode)) return;
  if (host.NetworkMode === 'container:') {
    throw invalidArgument('invalid container format container:<name|id>');
  }
  const clashes: readonly (readonly [boolean, string])[] = [
    [config.Hostname !== '', 'hostname and the network mode'],
    [
      (host.Links ?? []).length > 0,
      "container type network can't be used with links. This would result in undefined behavior",
    ],
    [(host.Dns ?? []).length > 0, 'dns and the network mode'],
    [(host.ExtraHosts ?? []).length > 0, 'custom host-to-IP mapping and the network mode'],
    [config.MacAddress !== '', 'mac-address and the network mode'],
    [
      Object.keys(host.PortBindings).length > 0 || host.PublishAllPorts,
      'port publishing and the container type network mode',
    ],
  ];
  for (const [isClash, text] of clashes) {
    if (isClash) throw invalidArgument(`conflicting options: ${text}`);
  }
}

function checkContainerIdEnv(host: HostConfig, config: ContainerConfig): void {
  const name = host.ContainerIDEnv;
  if (name === '') return;
  if (name.includes('=') || name.includes('\0')) {
    throw invalidArgument(`invalid environment variable: ${name}`);
  }
  if (config.Env.some((entry) => entry.split('=', 1)[0] === name)) {
    throw conflict(
      `cannot put the container's ID into ${name}: the environment variable is already set. Choose another name for --cidenv`,
    );
  }
}
