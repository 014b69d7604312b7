import { parseSizeBinary, parseSizeDecimal } from '../base/bytes.ts';
import { invalidArgument } from '../base/errors.ts';
import type { LogConfig } from '../spec/docker/container.ts';
import { type SyslogTarget, syslogOptions } from './syslog-options.ts';

/**
 * Log drivers and their options, in the words of Docker. Source: moby daemon/logger (ValidateLogOpts,
 * the drivers' ValidateLogOpt and New).
 */

/** Drivers that there are. */
export const LOG_DRIVERS = ['json-file', 'local', 'journald', 'syslog', 'none'] as const;
export type LogDriver = (typeof LOG_DRIVERS)[number];

/** Docker has these; a device that wants one runs its agent and lets it read what is kept here. */
const ELSEWHERE = ['awslogs', 'gcplogs', 'splunk', 'gelf', 'fluentd', 'logentries', 'etwlogs'];

/** What a container's log configuration comes to. */
export type LogPlan = {
  readonly driver: LogDriver;
  /** json-file and local: bytes at which a file is closed; 0: never. */
  readonly maxSizeBytes: number;
  /** json-file and local: files in all. */
  readonly filesMax: number;
  /** json-file and local: rotated files are packed by gzip. */
  readonly compress: boolean;
  /** `mode=non-blocking`. */
  readonly nonBlocking: boolean;
  readonly bufferBytes: number;
  /** Which attributes a message gets. */
  readonly attributes: LogAttributeOptions;
  /** Only of syslog. */
  readonly syslog: SyslogTarget | undefined;
};

/** The options labels, labels-regex, env, env-regex and tag. */
export type LogAttributeOptions = {
  readonly labels: readonly string[];
  readonly labelsRegex: RegExp | undefined;
  readonly env: readonly string[];
  readonly envRegex: RegExp | undefined;
  /** '' is the driver's default. */
  readonly tag: string;
};

type Options = Readonly<Record<string, string>>;

const ATTRIBUTES = ['labels', 'labels-regex', 'env', 'env-regex', 'tag'];
const FILES = ['max-size', 'max-file', 'compress'];
const SYSLOG = [
  ...['syslog-address', 'syslog-facility', 'syslog-format', 'syslog-tls-ca-cert'],
  ...['syslog-tls-cert', 'syslog-tls-key', 'syslog-tls-skip-verify'],
];
/** Options that every driver takes. The cache of unreadable drivers is not kept: flash is dear. */
const COMMON = [
  ...['mode', 'max-buffer-size'],
  ...['cache-disabled', 'cache-max-size', 'cache-max-file', 'cache-compress'],
];

const KNOWN: Readonly<Record<LogDriver, readonly string[]>> = {
  'json-file': [...FILES, ...ATTRIBUTES],
  local: [...FILES, ...ATTRIBUTES],
  journald: ATTRIBUTES,
  syslog: [...SYSLOG, ...ATTRIBUTES],
  none: [],
};

/** Bounded by default: a device's flash is small. Docker keeps one file of any size. */
const JSON_FILE = { maxSizeBytes: 10_000_000, filesMax: 3 };
const LOCAL = { maxSizeBytes: 20_000_000, filesMax: 5 };
const BUFFER_BYTES = 1 << 20;
/** More files than this are slow to rotate and to read. */
const FILES_MAX = 1000;

/** Attributes that messages of a container carry beside the text, at the most. */
export const LOG_ATTRIBUTES_BYTES_MAX = 32 << 10;

/**
 * A container's log configuration with the daemon's filled in: its driver when none is named, and
 * its options when the driver is the same. Source: moby daemon/logs.go, mergeAndVerifyLogConfig.
 */
export function mergeLogConfig(config: LogConfig, defaults: LogConfig): LogConfig {
  const type = config.Type === '' ? defaults.Type : config.Type;
  return {
    Type: type,
    Config: type === defaults.Type ? { ...defaults.Config, ...config.Config } : config.Config,
  };
}

/**
 * Checks a driver and its options.
 * @throws invalidArgument
 */
export function planLog(config: LogConfig): LogPlan {
  const driver = driverOf(config.Type);
  const options: Options = driver === 'none' ? {} : config.Config;
  const common = commonOptions(options);
  for (const key of Object.keys(options)) {
    if (!COMMON.includes(key) && !KNOWN[driver].includes(key)) {
      throw invalidArgument(
        driver === 'local'
          ? `unknown log opt '${key}' for log driver ${driver}`
          : `unknown log opt '${key}' for ${driver} log driver`,
      );
    }
  }
  return {
    driver,
    ...fileOptions(driver, options),
    ...common,
    attributes: attributeOptions(options),
    syslog: driver === 'syslog' ? syslogOptions(options) : undefined,
  };
}

function driverOf(type: string): LogDriver {
  const driver = LOG_DRIVERS.find((each) => each === type);
  if (driver !== undefined) return driver;
  throw invalidArgument(
    ELSEWHERE.includes(type)
      ? `the log driver ${type} is not part of this engine: use ${LOG_DRIVERS.join(', ')}`
      : `logger: no log driver named '${type}' is registered`,
  );
}

function commonOptions(options: Options): { nonBlocking: boolean; bufferBytes: number } {
  const mode = options['mode'] ?? '';
  if (!['', 'blocking', 'non-blocking'].includes(mode)) {
    throw invalidArgument(`logger: logging mode not supported: ${mode}`);
  }
  const size = options['max-buffer-size'];
  if (size !== undefined && mode !== 'non-blocking') {
    throw invalidArgument(
      "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
    );
  }
  const bufferBytes = size === undefined ? BUFFER_BYTES : parseSizeBinary(size);
  if (bufferBytes === undefined) {
    throw invalidArgument(`error parsing option max-buffer-size: invalid size: '${size}'`);
  }
  for (const key of ['cache-disabled', 'cache-compress']) parseBool(options[key] ?? 'false');
  // An int of setsockopt.
  return { nonBlocking: mode === 'non-blocking', bufferBytes: Math.min(bufferBytes, 2 ** 30) };
}

function fileOptions(
  driver: LogDriver,
  options: Options,
): Pick<LogPlan, 'maxSizeBytes' | 'filesMax' | 'compress'> {
  const defaults = driver === 'local' ? LOCAL : JSON_FILE;
  const maxSizeBytes = sizeOption(options['max-size']) ?? defaults.maxSizeBytes;
  // Who names a size and no number of files has said how much there may be.
  const filesDefault =
    driver === 'json-file' && options['max-size'] !== undefined ? 1 : defaults.filesMax;
  const filesMax = filesOption(options['max-file']) ?? filesDefault;
  // Also of local, where it is Docker's default: see docs/containers.md.
  const compress = parseBool(options['compress'] ?? 'false');
  if (compress && (filesMax === 1 || maxSizeBytes === 0)) {
    throw invalidArgument(
      'compress cannot be true when max-file is less than 2 or max-size is not set',
    );
  }
  return { maxSizeBytes, filesMax, compress };
}

function sizeOption(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (text === '-1') return 0; // Docker's documentation calls its default so
  const bytes = parseSizeDecimal(text);
  if (bytes === undefined) throw invalidArgument(`invalid size: '${text}'`);
  if (bytes <= 0) throw invalidArgument('max-size must be a positive number');
  return bytes;
}

function filesOption(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[+-]?\d{1,15}$/.test(text)) {
    throw invalidArgument(`strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  const files = Number(text);
  if (files < 1) throw invalidArgument('max-file cannot be less than 1');
  if (files > FILES_MAX) throw invalidArgument(`max-file cannot be more than ${FILES_MAX}`);
  return files;
}

/** Go's strconv.ParseBool. */
function parseBool(text: string): boolean {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(text)) return false;
  throw invalidArgument(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}

function attributeOptions(options: Options): LogAttributeOptions {
  return {
    labels: listOption(options['labels']),
    labelsRegex: regexOption(options['labels-regex']),
    env: listOption(options['env']),
    envRegex: regexOption(options['env-regex']),
    tag: options['tag'] ?? '',
  };
}

function listOption(text: string | undefined): string[] {
  return text === undefined || text === '' ? [] : text.split(',');
}

function regexOption(text: string | undefined): RegExp | undefined {
  if (text === undefined || text === '') return undefined;
  try {
    return new RegExp(text, 'u');
  } catch (cause) {
    throw invalidArgument(`error parsing regexp: ${JSON.stringify(text)}`, { cause });
  }
}
