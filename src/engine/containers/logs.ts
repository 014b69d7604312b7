import type { LogSubject } from '../../policy/log-attributes.ts';
import type { ByteStream, Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { type LogQuery, type LogSource, openLogs } from '../logs/logs.ts';
import type { Container } from './container.ts';
import { containerPaths } from './paths.ts';

/** What messages of a container's log may say of it. */
export function logSubjectOf(container: Container): LogSubject {
  const { document } = container;
  return {
    id: container.id,
    name: container.name,
    imageId: document.imageId,
    imageName: document.config.Image,
    command: [document.path, ...document.args],
    labels: document.config.Labels,
    env: document.config.Env,
  };
}

/** Where a container's log is, and until when it grows. */
export function logSourceOf(engine: Engine, container: Container): LogSource {
  return {
    id: container.id,
    folder: containerPaths(engine, container.id).data,
    config: container.document.hostConfig.LogConfig,
    terminal: container.document.config.Tty,
    isRunning: () => container.run !== undefined,
    ended: container.ending,
  };
}

/** What a container wrote, and with `follow` what it still writes. @throws notFound, invalidArgument */
export async function containerLogs(
  engine: Engine,
  args: { readonly params: { readonly id: string }; readonly query: LogQuery },
  call: Call,
): Promise<ByteStream> {
  const container = engine.containers.get(args.params.id);
  return await openLogs(engine.shims, logSourceOf(engine, container), args.query, call);
}
