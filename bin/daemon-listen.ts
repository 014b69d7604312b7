import { readFileSync } from 'node:fs';
import type { Server } from 'node:net';
import type { TlsOptions } from 'node:tls';
import type { ApiServer } from '../src/api/server.ts';
import { fileFault, invalidArgument } from '../src/base/errors.ts';
import type { Logger } from '../src/base/log.ts';
import { listenActivated, listenTcp, listenUnix } from '../src/kernel/listeners.ts';
import { activatedSockets } from '../src/kernel/socket-activation.ts';
import type { DaemonConfig, TlsConfig } from '../src/policy/daemon-config.ts';
import { formatListenAddress, isLoopback } from '../src/policy/daemon-listen.ts';

/**
 * Serves the API on every socket that the configuration names. Returns what counts its requests.
 * @throws what stops one of them
 */
export async function serveApi(
  api: ApiServer,
  { config, env, log }: { config: DaemonConfig; env: NodeJS.ProcessEnv; log: Logger },
): Promise<() => number> {
  const sockets = activatedSockets(env, process.pid);
  const tls = config.tls === undefined ? undefined : readTls(config.tls);
  let requests = 0;
  const listener = async (options?: TlsOptions): Promise<Server> => {
    const server = await api.createListener(options);
    return server.on('request', () => {
      requests += 1;
    });
  };
  for (const address of config.listen) {
    switch (address.kind) {
      case 'unix': {
        const socket = { socket: address.path, group: config.group };
        await listenUnix(await listener(), socket);
        break;
      }
      case 'tcp':
        warnOfOpenPort(config, address.host, log);
        await listenTcp(await listener(tls), address);
        break;
      case 'fd':
        await listenActivated(() => listener(), sockets, address.name);
        break;
    }
    log.info('API listen', { address: formatListenAddress(address) });
  }
  return () => requests;
}

function warnOfOpenPort(config: DaemonConfig, host: string, log: Logger): void {
  if (config.tls?.verify === true) return;
  const who = config.tls === undefined ? 'without TLS' : 'without --tlsverify';
  const sentence = `Binding to TCP ${who}: whoever reaches this port is root on this machine`;
  if (isLoopback(host)) log.info(`${sentence} (only from itself: ${host})`);
  else log.warn(`${sentence}. Use --tlsverify with client certificates`);
}

function readTls(tls: TlsConfig): TlsOptions {
  const read = (what: string, file: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (cause) {
      const reason = fileFault(cause);
      throw invalidArgument(`cannot read the ${what} of TLS: open ${file}: ${reason}`, { cause });
    }
  };
  return {
    cert: read('certificate', tls.certFile),
    key: read('key', tls.keyFile),
    minVersion: 'TLSv1.2',
    ...(tls.verify
      ? {
          ca: read('certificate authority', tls.caFile),
          requestCert: true,
          rejectUnauthorized: true,
        }
      : {}),
  };
}
