/** Levels of the daemon's log, most severe first; names are dockerd's `--log-level` values. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Facts beside a log line's message. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** A structured logger. `child` adds fields to every line. */
export type Logger = {
  readonly level: LogLevel;
  readonly error: (message: string, fields?: LogFields) => void;
  readonly warn: (message: string, fields?: LogFields) => void;
  readonly info: (message: string, fields?: LogFields) => void;
  readonly debug: (message: string, fields?: LogFields) => void;
  readonly child: (fields: LogFields) => Logger;
};

function quoted(value: string): string {
  return /^[A-Za-z0-9._:/@+-]+$/.test(value) ? value : JSON.stringify(value);
}

/** One line in logfmt, as dockerd writes it: `time="…" level=info msg="…" key=value`. */
export function formatLogLine(
  time: string,
  level: LogLevel,
  message: string,
  fields: LogFields,
): string {
  let line = `time="${time}" level=${level === 'warn' ? 'warning' : level} msg=${JSON.stringify(message)}`;
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) line += ` ${key}=${quoted(String(value))}`;
  }
  return line;
}

/** {@link formatLogLine} as one JSON object, `--log-format json`. */
export function formatJsonLogLine(
  time: string,
  level: LogLevel,
  message: string,
  fields: LogFields,
): string {
  return JSON.stringify({
    ...fields,
    level: level === 'warn' ? 'warning' : level,
    msg: message,
    time,
  });
}

/** A logger that hands finished lines to `write`; `level` is read at each call, so it can be changed by a reload. */
export function createLogger(options: {
  level: () => LogLevel;
  time: () => string;
  write: (line: string) => void;
  format?: 'text' | 'json';
  fields?: LogFields;
}): Logger {
  const fields = options.fields ?? {};
  const formatLine = options.format === 'json' ? formatJsonLogLine : formatLogLine;
  const at =
    (level: LogLevel) =>
    (message: string, more?: LogFields): void => {
      if (LOG_LEVELS.indexOf(level) > LOG_LEVELS.indexOf(options.level())) return;
      options.write(formatLine(options.time(), level, message, { ...fields, ...more }));
    };
  return {
    get level() {
      return options.level();
    },
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: (more) => createLogger({ ...options, fields: { ...fields, ...more } }),
  };
}

/** A logger that drops everything, for tests. */
export const silentLogger: Logger = createLogger({
  level: () => 'fatal',
  time: () => '',
  write: () => undefined,
});
