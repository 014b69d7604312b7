import { lookup } from 'node:dns/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { invalidArgument, messageOf } from '../../base/errors.ts';
import type { ShimLog } from '../../kernel/shim.ts';
import {
  encodeLogAttributes,
  journaldFields,
  type LogSubject,
  logAttributes,
  logTag,
} from '../../policy/log-attributes.ts';
import { type LogPlan, planLog } from '../../policy/log-options.ts';
import type { SyslogTarget } from '../../policy/syslog-options.ts';
import type { LogConfig } from '../../spec/docker/container.ts';

/** A log that goes nowhere, for execs. */
export const NO_LOG: ShimLog = {
  driver: 'none',
  path: '',
  maxSizeBytes: 0,
  filesMax: 1,
  compress: false,
  attrs: '',
  options: [],
  nonBlocking: false,
  bufferBytes: 0,
};

/**
 * File of a container's log in its folder of the data root; '' for drivers without one. Inspect
 * shows it as `LogPath` (Docker shows that of json-file only).
 */
export function logPath(folder: string, id: string, driver: string): string {
  if (driver === 'json-file') return path.join(folder, `${id}-json.log`);
  if (driver === 'local') return path.join(folder, 'local.log');
  return '';
}

/**
 * What the shim of a container is told about its log. Looks a syslog server's name up.
 * @throws invalidArgument
 */
export async function shimLog(
  config: LogConfig,
  folder: string,
  subject: LogSubject,
): Promise<ShimLog> {
  const plan = planLog(config);
  return {
    driver: plan.driver,
    path: logPath(folder, subject.id, plan.driver),
    maxSizeBytes: plan.maxSizeBytes,
    filesMax: plan.filesMax,
    compress: plan.compress,
    attrs: encodeLogAttributes(logAttributes(plan.attributes, subject)),
    options: await driverOptions(plan, subject),
    nonBlocking: plan.nonBlocking,
    bufferBytes: plan.bufferBytes,
  };
}

async function driverOptions(plan: LogPlan, subject: LogSubject): Promise<string[]> {
  if (plan.driver === 'journald') return journaldFields(plan.attributes, subject);
  if (plan.syslog === undefined) return [];
  const { network, port, facility, format } = plan.syslog;
  return [
    `network=${network}`,
    `address=${await addressOf(plan.syslog)}`,
    `port=${port}`,
    `facility=${facility}`,
    `format=${format}`,
    `hostname=${hostname()}`,
    `tag=${logTag(plan.attributes.tag, '{{.ID}}', subject)}`,
  ];
}

async function addressOf(target: SyslogTarget): Promise<string> {
  if (target.network === 'unix' || target.network === 'unixgram') {
    return target.address === '' ? '/dev/log' : target.address;
  }
  try {
    return (await lookup(target.address)).address;
  } catch (cause) {
    throw invalidArgument(`failed to initialize logging driver: ${messageOf(cause)}`, { cause });
  }
}
