import { EXIT, ExitError } from './exit.ts';
import { bool, type FlagValues, list, text } from './flags.ts';

/** Flags that stand before the command, as Docker's client has them. */
export const GLOBAL_FLAGS = {
  config: text('', 'Location of client config files', { shownDefault: '"~/.docker"' }),
  context: text('c', 'Name of the context to use; there is only "default"'),
  debug: bool('D', 'Enable debug mode'),
  host: list('H', 'Daemon socket to connect to'),
  'log-level': text('l', 'Level of messages ("debug", "info", "warn", "error", "fatal")', {
    initial: 'info',
  }),
  tls: bool('', 'Use TLS; implied by --tlsverify'),
  tlscacert: text('', 'Trust certs signed only by this CA', { shownDefault: '"~/.docker/ca.pem"' }),
  tlscert: text('', 'Path to TLS certificate file', { shownDefault: '"~/.docker/cert.pem"' }),
  tlskey: text('', 'Path to TLS key file', { shownDefault: '"~/.docker/key.pem"' }),
  tlsverify: bool('', 'Use TLS and verify the remote'),
  version: bool('v', 'Print version information and quit'),
} as const;

export type GlobalFlags = FlagValues<typeof GLOBAL_FLAGS>;

const LEVELS = ['debug', 'info', 'warn', 'warning', 'error', 'fatal', 'panic', 'trace'];

/** @throws ExitError for values that no command can work with */
export function checkGlobalFlags(flags: GlobalFlags): void {
  if (!LEVELS.includes(flags['log-level'].toLowerCase())) {
    throw new ExitError(EXIT.failure, `Unable to parse logging level: ${flags['log-level']}`);
  }
  if (flags.host.length > 1) throw new ExitError(EXIT.failure, 'Specify only one -H');
}
