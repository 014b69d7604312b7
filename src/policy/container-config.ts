import path from 'node:path';
import { invalidArgument } from '../base/errors.ts';
import type { ContainerConfig, HealthConfig } from '../spec/docker/container.ts';
import { parseSignal } from './signals.ts';

/**
 * What a container runs, from the request and its image. Rules and texts: moby `daemon/commit.go`
 * (merge) and `daemon/container.go` (verifyContainerSettings).
 */

const NS_PER_MS = 1_000_000;

/** Fills a request's config with what the image says and the request leaves open. */
export function mergeConfig(request: ContainerConfig, image: ContainerConfig): ContainerConfig {
  const takeCommand = isEmpty(request.Entrypoint) && isEmpty(request.Cmd);
  const takeEntrypoint = request.Entrypoint === null;
  const entrypoint = takeEntrypoint ? image.Entrypoint : request.Entrypoint;
  const isBlank = entrypoint?.length === 1 && entrypoint[0] === '';
  return {
    ...request,
    User: request.User || image.User,
    ExposedPorts: { ...image.ExposedPorts, ...request.ExposedPorts },
    Env: mergeEnv(request.Env, image.Env),
    Labels: { ...image.Labels, ...request.Labels },
    Cmd: takeCommand ? image.Cmd : request.Cmd,
    ArgsEscaped: takeCommand ? image.ArgsEscaped : request.ArgsEscaped,
    Entrypoint: isBlank ? null : entrypoint,
    Healthcheck: mergeHealth(request.Healthcheck, image.Healthcheck),
    WorkingDir: request.WorkingDir || image.WorkingDir,
    Volumes: { ...image.Volumes, ...request.Volumes },
    StopSignal: request.StopSignal || image.StopSignal,
    Shell: request.Shell ?? image.Shell,
    OnBuild: request.OnBuild ?? image.OnBuild,
  };
}

function isEmpty(list: readonly string[] | null): boolean {
  return list === null || list.length === 0;
}

const nameOf = (entry: string): string => entry.split('=', 1)[0] ?? '';

/** The request's variables, then those of the image that it does not name. */
function mergeEnv(request: readonly string[], image: readonly string[]): string[] {
  const own = new Set(request.map(nameOf));
  return [...request, ...image.filter((entry) => !own.has(nameOf(entry)))];
}

function mergeHealth(
  request: HealthConfig | null,
  image: HealthConfig | null,
): HealthConfig | null {
  if (request === null || image === null) return request ?? image;
  return {
    Test: request.Test.length === 0 ? image.Test : request.Test,
    Interval: request.Interval || image.Interval,
    Timeout: request.Timeout || image.Timeout,
    StartPeriod: request.StartPeriod || image.StartPeriod,
    StartInterval: request.StartInterval || image.StartInterval,
    Retries: request.Retries || image.Retries,
  };
}

/**
 * The executable and its arguments.
 * @throws invalidArgument when there is nothing to run
 */
export function commandOf(config: ContainerConfig): { path: string; args: string[] } {
  const [first, ...args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (first === undefined) throw invalidArgument('no command specified');
  return { path: first, args };
}

/**
 * Checks a merged config; returns it with a clean working directory.
 * @throws invalidArgument with Docker's texts
 */
export function checkConfig(config: ContainerConfig): ContainerConfig {
  commandOf(config);
  for (const entry of config.Env) {
    if (nameOf(entry) === '') throw invalidArgument(`invalid environment variable: ${entry}`);
    if (entry.includes('\0')) {
      throw invalidArgument(`invalid environment variable: ${nameOf(entry)} holds a NUL`);
    }
  }
  if (config.StopSignal !== '') parseSignal(config.StopSignal);
  if (config.Healthcheck !== null) checkHealth(config.Healthcheck);
  for (const port of Object.keys(config.ExposedPorts)) checkPort(port);
  if (config.WorkingDir === '') return config;
  if (!config.WorkingDir.startsWith('/')) {
    throw invalidArgument(
      `the working directory '${config.WorkingDir}' is invalid, it needs to be an absolute path`,
    );
  }
  const WorkingDir = path.posix.normalize(config.WorkingDir).replace(/(.)\/$/, '$1');
  return { ...config, WorkingDir };
}

function checkHealth(health: HealthConfig): void {
  for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
    const ns = health[field];
    if (ns !== 0 && ns < NS_PER_MS) {
      throw invalidArgument(`${field} in Healthcheck cannot be less than 1ms`);
    }
  }
  if (health.Retries < 0) throw invalidArgument('Retries in Healthcheck cannot be negative');
}

/** `80`, `80/tcp`, `8000-8010/udp`. @throws invalidArgument */
export function checkPort(port: string): void {
  const m = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/i.exec(port);
  const first = Number(m?.[1]);
  const last = m?.[2] === undefined ? first : Number(m[2]);
  if (m === null || first > 65_535 || last > 65_535 || last < first) {
    throw invalidArgument(`invalid port specification: "${port}"`);
  }
}
