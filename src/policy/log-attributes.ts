import { invalidArgument } from '../base/errors.ts';
import { LOG_ATTRIBUTES_BYTES_MAX, type LogAttributeOptions } from './log-options.ts';

/**
 * What messages of a container say of their container. Source: moby daemon/logger (loginfo.go,
 * loggerutils/log_tag.go).
 */

/** Facts about a container that tags and attributes draw on. */
export type LogSubject = {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** Without the leading slash. */
  readonly name: string;
  /** `sha256:…` */
  readonly imageId: string;
  /** As the user wrote it. */
  readonly imageName: string;
  /** Entrypoint and arguments. */
  readonly command: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** `NAME=value` */
  readonly env: readonly string[];
};

/** The name that {{.DaemonName}} gives. */
const DAEMON_NAME = 'coracle';

const ID_LENGTH = 12;

/**
 * A tag's text: each `{{.Field}}` replaced. `fallback` is the driver's own template.
 * @throws invalidArgument for anything else in braces
 */
export function logTag(template: string, fallback: string, subject: LogSubject): string {
  const fields: Readonly<Record<string, string>> = {
    ID: subject.id.slice(0, ID_LENGTH),
    FullID: subject.id,
    Name: subject.name,
    // Docker cuts the whole ID, algorithm included.
    ImageID: subject.imageId.slice(0, ID_LENGTH),
    ImageFullID: subject.imageId,
    ImageName: subject.imageName,
    DaemonName: DAEMON_NAME,
    Command: subject.command.join(' '),
  };
  return (template === '' ? fallback : template).replace(/\{\{(.*?)\}\}/gs, (whole, inside) => {
    const field = /^-? *\.(\w+) *-?$/.exec(String(inside).trim())?.[1] ?? '';
    const value = Object.hasOwn(fields, field) ? fields[field] : undefined;
    if (value === undefined) {
      throw invalidArgument(
        `bad log tag: ${whole} is not one of ${Object.keys(fields)
          .map((each) => `{{.${each}}}`)
          .join(', ')}`,
      );
    }
    return value;
  });
}

/**
 * The attributes that the options ask for, sorted by name, as Go writes a map.
 * @throws invalidArgument when they are more than a message may carry
 */
export function logAttributes(
  options: LogAttributeOptions,
  subject: LogSubject,
): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const take = (
    from: ReadonlyMap<string, string>,
    names: readonly string[],
    pattern: RegExp | undefined,
  ): void => {
    for (const [name, value] of from) {
      if (names.includes(name) || pattern?.test(name) === true) found.set(name, value);
    }
  };
  take(new Map(Object.entries(subject.labels)), options.labels, options.labelsRegex);
  take(environment(subject.env), options.env, options.envRegex);
  if (options.tag !== '') found.set('tag', logTag(options.tag, '', subject));
  const sorted = new Map([...found].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  if (Buffer.byteLength(encodeLogAttributes(sorted)) > LOG_ATTRIBUTES_BYTES_MAX) {
    throw invalidArgument(
      `the labels and variables for the log are more than ${LOG_ATTRIBUTES_BYTES_MAX} bytes`,
    );
  }
  return sorted;
}

function environment(env: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    env
      .filter((each) => each.includes('='))
      .map((each) => [each.slice(0, each.indexOf('=')), each.slice(each.indexOf('=') + 1)]),
  );
}

/** The `attrs` of a json-file line; '' for none. Escapes what Go escapes. */
export function encodeLogAttributes(attributes: ReadonlyMap<string, string>): string {
  if (attributes.size === 0) return '';
  return JSON.stringify(Object.fromEntries(attributes)).replace(
    /[<>&\u2028\u2029]/g,
    (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * The fields that journald gets with each message, `NAME=value`.
 * Source: moby daemon/logger/journald.
 */
export function journaldFields(options: LogAttributeOptions, subject: LogSubject): string[] {
  const tag = logTag(options.tag, '{{.ID}}', subject);
  const extra = logAttributes({ ...options, tag: '' }, subject);
  return [
    `CONTAINER_ID=${subject.id.slice(0, ID_LENGTH)}`,
    `CONTAINER_ID_FULL=${subject.id}`,
    `CONTAINER_NAME=${subject.name}`,
    `CONTAINER_TAG=${tag}`,
    `IMAGE_NAME=${subject.imageName}`,
    `SYSLOG_IDENTIFIER=${tag}`,
    ...[...extra]
      .map(([name, value]) => [journaldName(name), value])
      .filter(([name]) => name !== '')
      .map(([name, value]) => `${name}=${value}`),
  ];
}

/** Upper case, digits and underscores, not at the front: what journald takes as a field's name. */
function journaldName(name: string): string {
  return name
    .toUpperCase()
    .replace(/[^A-Z0-9]/g, '_')
    .replace(/^_+/, '')
    .slice(0, 64);
}
