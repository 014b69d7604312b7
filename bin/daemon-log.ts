import { formatTimeNs } from '../src/base/clock.ts';
import { createLogger, type Logger, type LogLevel } from '../src/base/log.ts';
import { systemClock } from '../src/kernel/clock.ts';

/** The daemon's log: lines on stderr, which the service manager keeps. */
export function stderrLogger(level: () => LogLevel, format: 'text' | 'json'): Logger {
  // Whoever reads the log may go away (a restarted journal): that is no reason to end.
  process.stderr.on('error', () => undefined);
  return createLogger({
    level,
    format,
    time: () => formatTimeNs(systemClock.nowNs()),
    write: (line) => void process.stderr.write(`${line}\n`),
  });
}
