import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { eventually, freePort, stopChild } from './processes.ts';
import { temporaryFolder } from './temp.ts';
import { tool } from './tools.ts';

/** A registry on loopback; disposing it stops it and drops what it holds. */
export type Registry = AsyncDisposable & {
  /** `127.0.0.1:PORT`, the first part of a reference. */
  readonly host: string;
  readonly url: string;
  /** File with one line for each request. */
  readonly log: string;
  /** Where it keeps its blobs, to spoil them. */
  readonly blobFile: (digest: string) => string;
  readonly stop: () => Promise<void>;
};

/**
 * Starts Debian's docker-registry (distribution 2.8) with its own folder on a free port.
 * `htpasswd` is the text of a password file that turns basic authentication on; with `tls` (PEM)
 * clients must have a certificate of the authority `ca`.
 */
export async function startRegistry(
  options: {
    readonly htpasswd?: string;
    readonly address?: string;
    readonly tls?: { readonly key: string; readonly cert: string; readonly ca: string };
  } = {},
): Promise<Registry> {
  const { address = '127.0.0.1', tls } = options;
  const folder = temporaryFolder('registry');
  const port = await freePort();
  const data = path.join(folder.path, 'data');
  mkdirSync(data);
  const config: Record<string, unknown> = {
    version: '0.1',
    log: { level: 'info', accesslog: { disabled: false } },
    storage: { filesystem: { rootdirectory: data }, delete: { enabled: true } },
    http: {
      addr: `${address}:${port}`,
      secret: 'for tests',
      ...(tls === undefined ? {} : { tls: tlsFiles(folder.path, tls) }),
    },
  };
  if (options.htpasswd !== undefined) {
    const file = path.join(folder.path, 'htpasswd');
    writeFileSync(file, options.htpasswd);
    config['auth'] = { htpasswd: { realm: 'test', path: file } };
  }
  const file = path.join(folder.path, 'config.yml');
  writeFileSync(file, JSON.stringify(config)); // JSON is YAML
  const log = path.join(folder.path, 'log');
  const child = spawn(tool('docker-registry'), ['serve', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, OTEL_TRACES_EXPORTER: 'none' },
  });
  const sink = createWriteStream(log);
  void pipeline(child.stdout, sink).catch(() => undefined);
  child.stderr.pipe(sink, { end: false });

  const stop = async (): Promise<void> => {
    await stopChild(child, 2_000);
    folder[Symbol.dispose]();
  };
  const url = `${tls === undefined ? 'http' : 'https'}://${address}:${port}`;
  try {
    await eventually(
      async () => {
        if (child.exitCode !== null) throw new Error(`the registry ended; see ${log}`);
        if (tls !== undefined) return await listens(address, port);
        const answer = await fetch(`${url}/v2/`).catch(() => undefined);
        return answer !== undefined && [200, 401].includes(answer.status);
      },
      { what: 'the registry' },
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    host: `${address}:${port}`,
    url,
    log,
    blobFile: (digest) => {
      const hex = digest.replace('sha256:', '');
      const blobs = path.join(data, 'docker/registry/v2/blobs/sha256');
      return path.join(blobs, hex.slice(0, 2), hex, 'data');
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Writes the parts of a certificate where the registry reads them. */
function tlsFiles(folder: string, tls: { key: string; cert: string; ca: string }): object {
  const at = (name: keyof typeof tls): string => {
    const file = path.join(folder, `${name}.pem`);
    writeFileSync(file, tls[name]);
    return file;
  };
  return { certificate: at('cert'), key: at('key'), clientcas: [at('ca')] };
}

async function listens(host: string, port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ host, port }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
