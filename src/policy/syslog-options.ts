import { invalidArgument } from '../base/errors.ts';

/** The options of the syslog driver. Source: moby daemon/logger/syslog; RFC 5424 6.2.1. */

/** Where syslog messages go, and how they are written. */
export type SyslogTarget = {
  readonly network: 'udp' | 'tcp' | 'unix' | 'unixgram';
  /** Host name or number, or the socket's path; '' is the host's own, /dev/log. */
  readonly address: string;
  readonly port: number;
  /** 0 … 23 */
  readonly facility: number;
  readonly format: '' | 'rfc3164' | 'rfc5424' | 'rfc5424micro';
};

const PORT = 514;

/** By number. */
const FACILITIES = [
  ...['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron'],
  ...['authpriv', 'ftp', '', '', '', ''],
  ...['local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'],
];

const FORMATS = ['', 'rfc3164', 'rfc5424', 'rfc5424micro'] as const;

/** @throws invalidArgument */
export function syslogOptions(options: Readonly<Record<string, string>>): SyslogTarget {
  const format = FORMATS.find((each) => each === (options['syslog-format'] ?? ''));
  if (format === undefined) throw invalidArgument('Invalid syslog format');
  return {
    ...addressOption(options['syslog-address'] ?? ''),
    facility: facilityOption(options['syslog-facility'] ?? ''),
    format,
  };
}

function addressOption(text: string): Pick<SyslogTarget, 'network' | 'address' | 'port'> {
  if (text === '') return { network: 'unixgram', address: '', port: 0 };
  const parts = /^(tcp\+tls|tcp|udp|unix|unixgram):\/\/(.*)$/s.exec(text);
  if (parts === null) {
    throw invalidArgument(`syslog-address should be in form proto://address, got ${text}`);
  }
  const [, network, rest = ''] = parts;
  if (network === 'unix' || network === 'unixgram') return { network, address: rest, port: 0 };
  if (network === 'tcp') return { network, ...hostAndPort(rest, text) };
  if (network === 'udp') return { network, ...hostAndPort(rest, text) };
  throw invalidArgument(
    'syslog-address with tcp+tls is not part of this engine: use tcp, udp, unix or unixgram',
  );
}

function hostAndPort(rest: string, text: string): { address: string; port: number } {
  const parts = /^(?:\[([^\]]+)\]|([^:/]+))(?::(\d{1,5}))?$/.exec(rest);
  const port = Number(parts?.[3] ?? PORT);
  const address = parts?.[1] ?? parts?.[2];
  if (address === undefined || port < 1 || port > 65_535) {
    throw invalidArgument(`syslog-address should be in form proto://address, got ${text}`);
  }
  return { address, port };
}

function facilityOption(text: string): number {
  const name = text === '' ? 'daemon' : text;
  const number = /^\d{1,2}$/.test(name) ? Number(name) : FACILITIES.indexOf(name);
  if (number < 0 || number > 23) throw invalidArgument('invalid syslog facility');
  return number;
}
