import { invalidArgument } from '../base/errors.ts';

/** What `--security-opt` asks for. */
export type SecurityOptions = {
  /** Undefined: the daemon's default. */
  readonly noNewPrivileges: boolean | undefined;
  /** '' is the default; `unconfined`; else a profile's JSON text. */
  readonly seccomp: string;
  /** '' is the default; `unconfined`; else a profile's name. */
  readonly apparmor: string;
  readonly labels: readonly string[];
  /** True: neither masked nor read-only paths. */
  readonly systemPathsUnconfined: boolean;
};

/** `key=value`, `key:value` or a bare word. Texts: moby `daemon/daemon_unix.go`. @throws invalidArgument */
export function parseSecurityOptions(options: readonly string[]): SecurityOptions {
  let noNewPrivileges: boolean | undefined;
  let seccomp = '';
  let apparmor = '';
  let systemPathsUnconfined = false;
  const labels: string[] = [];
  for (const option of options) {
    if (option === 'no-new-privileges') {
      noNewPrivileges = true;
      continue;
    }
    if (option === 'disable') {
      labels.push('disable');
      continue;
    }
    const [, key, value] = /^([^=:]+)[=:](.*)$/s.exec(option) ?? [];
    if (key === undefined || value === undefined) {
      throw invalidArgument(`invalid --security-opt 1: "${option}"`);
    }
    switch (key) {
      case 'label':
        labels.push(value);
        break;
      case 'apparmor':
        apparmor = value;
        break;
      case 'seccomp':
        seccomp = value === 'builtin' ? '' : value;
        break;
      case 'systempaths':
        if (value !== 'unconfined') {
          throw invalidArgument(`invalid --security-opt 2: "${option}"`);
        }
        systemPathsUnconfined = true;
        break;
      case 'no-new-privileges':
        if (!/^(?:1|t|true|0|f|false)$/i.test(value)) {
          throw invalidArgument(`invalid --security-opt 2: "${option}"`);
        }
        noNewPrivileges = /^(?:1|t|true)$/i.test(value);
        break;
      default:
        throw invalidArgument(`invalid --security-opt 2: "${option}"`);
    }
  }
  return { noNewPrivileges, seccomp, apparmor, labels, systemPathsUnconfined };
}
